"""Runs each operation on a store through its guard: the breaker, recorded deaths, the time limit, repetition, figures.

`guarded.py` has the operations of a store; each is one call here.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar

from grange.aio.awake import AwakeTimeout
from grange.aio.backoff import Backoff
from grange.errors import InconsistentStateError, StorageError, StorageUnavailable, WriteOutcomeUnknown
from grange.observability.counters import StoreFigures
from grange.proto.ids import GrainId
from grange.storage.guards.breaker import Breaker
from grange.storage.guards.death_recorder import DeathRecorder

T = TypeVar("T")

_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 1.0
"""Seconds before a change whose answer was lost is sent again: the first pause, and the longest."""


class Operation(NamedTuple):
    """One operation. `kind` is that of its figures. Its text is for errors, so it is made only for them.

    `grain_id` None: it is about many grains, and `name` says which.
    """

    kind: str
    grain_id: GrainId | None
    name: str

    def __str__(self) -> str:
        return f"{self.kind} of {self.name}" + ("" if self.grain_id is None else f" of {self.grain_id}")


class Change(NamedTuple):
    """An operation that changes a store. `stamped`: it can be sent again after a lost answer.

    `leaves_trace`: a refusal that shows unchanged etags proves that it was not applied. `states`: how many it changes.
    """

    operation: Operation
    stamped: bool
    leaves_trace: bool = True
    states: int = 1


class Guard:
    """The guard of one store. `timeout` in seconds bounds each operation with all its repetitions.

    `on_fenced` is called when the store refuses a change because this silo's death is recorded in it.
    """

    def __init__(
        self,
        recorder: DeathRecorder,
        breaker: Breaker,
        rng: random.Random,
        timeout: float,
        on_fenced: Callable[[InconsistentStateError], None],
    ) -> None:
        self._recorder = recorder
        self._breaker = breaker
        self._rng = rng
        self._timeout = timeout
        self._on_fenced = on_fenced
        self.figures = StoreFigures(breaker.name)

    async def load(self, operation: Operation, read: Callable[[], Awaitable[T]]) -> T:
        """Read what a grain goes on from. Waits until every death known to this silo is recorded in the store.

        Reads again when another death came meanwhile.
        """
        return await self._count(operation, lambda: self._read(operation, lambda: self._after_deaths(read)))

    async def look(self, operation: Operation, read: Callable[[], Awaitable[T]]) -> T:
        """Read what a dead silo may still change: a list, or what is compared again when it is changed."""
        return await self._count(operation, lambda: self._read(operation, read))

    async def change(self, change: Change, send: Callable[[], Awaitable[T]]) -> T:
        """Change the store. With a stamp, a change whose answer was lost is sent again while there is time."""
        operation = change.operation
        result = await self._count(operation, lambda: self._change(change, send))
        if operation.grain_id is not None:
            self.figures.wrote(operation.grain_id.type, change.states)
        return result

    async def _read(self, operation: Operation, read: Callable[[], Awaitable[T]]) -> T:
        if self._breaker.is_open:
            await self._breaker.check(operation)
        try:
            async with AwakeTimeout(self._timeout):
                return await read()
        except TimeoutError:
            reason = "the store did not answer" if self._recorder.is_done else "deaths of silos are not recorded yet"
            error = StorageUnavailable(f"{operation}: {reason} within {self._timeout} s")
            self._breaker.on_failure(error)
            raise error from None
        except StorageUnavailable as error:
            self._breaker.on_failure(error)
            raise

    async def _after_deaths(self, read: Callable[[], Awaitable[T]]) -> T:
        while True:
            await self._recorder.wait_done()
            additions = self._recorder.additions
            try:
                result = await read()
            except InconsistentStateError as error:
                self._check_fenced(error)
                raise
            if self._recorder.additions == additions:
                return result

    async def _count(self, operation: Operation, work: Callable[[], Awaitable[T]]) -> T:
        """Run an operation, and count its time and its outcome."""
        loop, figures = asyncio.get_running_loop(), self.figures
        began = loop.time()
        try:
            return await work()
        except InconsistentStateError as error:
            if not error.fenced and operation.grain_id is not None:
                figures.lost_race(operation.grain_id.type)
            raise
        except StorageError as error:
            figures.error(error)
            raise
        finally:
            figures.ended(operation.kind, loop.time() - began)

    async def _change(self, change: Change, send: Callable[[], Awaitable[T]]) -> T:
        if self._breaker.is_open:
            await self._breaker.check(change.operation)
        deadline = asyncio.get_running_loop().time() + self._timeout
        try:
            return await send()
        except InconsistentStateError as error:
            self._check_fenced(error)
            raise
        except WriteOutcomeUnknown as error:
            self._breaker.on_failure(error)
            if not change.stamped:
                raise
            return await self._resolve(change, send, error, deadline)
        except StorageUnavailable as error:
            self._breaker.on_failure(error)
            raise

    async def _resolve(
        self, change: Change, send: Callable[[], Awaitable[T]], lost: WriteOutcomeUnknown, deadline: float
    ) -> T:
        """Send the same change again. With its etags and stamp it is applied at most once, even if both arrive.

        Raises InconsistentStateError only if the change is certainly not stored, else WriteOutcomeUnknown.
        """
        try:
            async with asyncio.timeout_at(deadline):
                return await self._repeat(send)
        except TimeoutError:
            raise lost from None
        except InconsistentStateError as error:
            self._check_fenced(error)
            if error.fenced and change.leaves_trace and error.stored == error.given:
                raise  # the record is unchanged, and stays so: the store refuses this silo
            raise WriteOutcomeUnknown(
                f"{change.operation}: its answer was lost, and another writer has changed the record since ({error})"
            ) from error
        except StorageError as error:
            raise lost from error

    async def _repeat(self, send: Callable[[], Awaitable[T]]) -> T:
        backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE, self._rng)
        while True:
            await asyncio.sleep(backoff.pause())
            await self._breaker.wait_closed()
            try:
                return await send()
            except (WriteOutcomeUnknown, StorageUnavailable) as error:
                self._breaker.on_failure(error)

    def _check_fenced(self, error: InconsistentStateError) -> None:
        if error.fenced:
            self.figures.fenced += 1
            self._on_fenced(error)
