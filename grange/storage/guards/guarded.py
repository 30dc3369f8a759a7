"""Guards a store for one silo: reads wait for recorded deaths, an outage fails at once, lost answers are resolved.

`stores.py` puts one of these before each store of a silo; the states of grains go through it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Coroutine
from typing import Any, NamedTuple, TypeVar

from grange.aio.awake import AwakeTimeout
from grange.aio.backoff import Backoff
from grange.errors import InconsistentStateError, StorageError, StorageUnavailable, WriteOutcomeUnknown
from grange.observability.counters import StoreFigures
from grange.proto.ids import GrainId, SiloAddress
from grange.storage.guards.breaker import Breaker
from grange.storage.guards.death_recorder import DeathRecorder
from grange.storage.provider import GrainStorage, StateRecord
from grange.storage.sets import Stamp

T = TypeVar("T")

_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 1.0
"""Seconds before a change whose answer was lost is sent again: the first pause, and the longest."""


class Operation(NamedTuple):
    """One operation on one record. Its text is for errors, so it is made only for them."""

    kind: str
    grain_id: GrainId
    state: str

    def __str__(self) -> str:
        return f"{self.kind} of state {self.state!r} of {self.grain_id}"


class GuardedStorage:
    """A `GrainStorage` around another one. `timeout` in seconds bounds each operation with all its repetitions.

    `on_fenced` is called when the store refuses a change because this silo's death is recorded in it.

    `figures` counts the operations.
    """

    def __init__(
        self,
        storage: GrainStorage,
        recorder: DeathRecorder,
        breaker: Breaker,
        rng: random.Random,
        timeout: float,
        on_fenced: Callable[[InconsistentStateError], None],
    ) -> None:
        self._storage = storage
        self._recorder = recorder
        self._breaker = breaker
        self._rng = rng
        self._timeout = timeout
        self._on_fenced = on_fenced
        self.figures = StoreFigures(breaker.name)

    async def read(self, grain_id: GrainId, state: str) -> StateRecord:
        """See `GrainStorage.read`. Waits until every death known to this silo is recorded in the store.

        Reads again when another death came meanwhile.
        """
        operation = Operation("read", grain_id, state)
        return await self._count(operation, self._read(operation))

    async def _read(self, operation: Operation) -> StateRecord:
        if self._breaker.is_open:
            await self._breaker.check(operation)
        try:
            async with AwakeTimeout(self._timeout):
                return await self._read_after_deaths(operation.grain_id, operation.state)
        except TimeoutError:
            reason = "the store did not answer" if self._recorder.is_done else "deaths of silos are not recorded yet"
            error = StorageUnavailable(f"{operation}: {reason} within {self._timeout} s")
            self._breaker.on_failure(error)
            raise error from None
        except StorageUnavailable as error:
            self._breaker.on_failure(error)
            raise

    async def _read_after_deaths(self, grain_id: GrainId, state: str) -> StateRecord:
        while True:
            await self._recorder.wait_done()
            additions = self._recorder.additions
            record = await self._storage.read(grain_id, state)
            if self._recorder.additions == additions:
                return record

    async def write(
        self,
        grain_id: GrainId,
        state: str,
        payload: bytes,
        etag: str | None,
        schema: int = 1,
        stamp: Stamp | None = None,
    ) -> str:
        """See `GrainStorage.write`. With a stamp, a change whose answer was lost is repeated while there is time."""
        operation = Operation("write", grain_id, state)
        change = self._change(
            operation,
            lambda: self._storage.write(grain_id, state, payload, etag, schema, stamp),
            stamp,
        )
        return await self._count(operation, change)

    async def clear(self, grain_id: GrainId, state: str, etag: str | None, stamp: Stamp | None = None) -> str | None:
        """See `GrainStorage.clear`, and `write`."""
        operation = Operation("clear", grain_id, state)
        change = self._change(
            operation,
            lambda: self._storage.clear(grain_id, state, etag, stamp),
            stamp,
        )
        return await self._count(operation, change)

    async def fence(self, silos: Collection[SiloAddress]) -> None:
        """See `GrainStorage.fence`."""
        await self._storage.fence(silos)

    async def _count(self, operation: Operation, work: Coroutine[Any, Any, T]) -> T:
        """Run an operation, and count its time and its outcome."""
        loop, figures = asyncio.get_running_loop(), self.figures
        began = loop.time()
        try:
            result = await work
        except InconsistentStateError as error:
            if not error.fenced:
                figures.lost_race(operation.grain_id.type)
            raise
        except StorageError as error:
            figures.error(error)
            raise
        finally:
            figures.ended(operation.kind, loop.time() - began)
        if operation.kind != "read":
            figures.wrote(operation.grain_id.type)
        return result

    async def _change(self, operation: Operation, change: Callable[[], Awaitable[T]], stamp: Stamp | None) -> T:
        if self._breaker.is_open:
            await self._breaker.check(operation)
        deadline = asyncio.get_running_loop().time() + self._timeout
        try:
            return await change()
        except InconsistentStateError as error:
            self._check_fenced(error)
            raise
        except WriteOutcomeUnknown as error:
            self._breaker.on_failure(error)
            if stamp is None:
                raise
            return await self._resolve(operation, change, error, deadline)
        except StorageUnavailable as error:
            self._breaker.on_failure(error)
            raise

    async def _resolve(
        self, operation: Operation, change: Callable[[], Awaitable[T]], lost: WriteOutcomeUnknown, deadline: float
    ) -> T:
        """Send the same change again. With its etag and stamp it is applied at most once, even if both arrive.

        Raises InconsistentStateError only if the change is certainly not stored, else WriteOutcomeUnknown.
        """
        try:
            async with asyncio.timeout_at(deadline):
                return await self._repeat(change)
        except TimeoutError:
            raise lost from None
        except InconsistentStateError as error:
            self._check_fenced(error)
            if error.fenced and error.stored == error.given:
                raise  # the record is unchanged, and stays so: the store refuses this silo
            raise WriteOutcomeUnknown(
                f"{operation}: its answer was lost, and another writer has changed the record since ({error})"
            ) from error
        except StorageError as error:
            raise lost from error

    async def _repeat(self, change: Callable[[], Awaitable[T]]) -> T:
        backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE, self._rng)
        while True:
            await asyncio.sleep(backoff.pause())
            await self._breaker.wait_closed()
            try:
                return await change()
            except (WriteOutcomeUnknown, StorageUnavailable) as error:
                self._breaker.on_failure(error)

    def _check_fenced(self, error: InconsistentStateError) -> None:
        if error.fenced:
            self.figures.fenced += 1
            self._on_fenced(error)
