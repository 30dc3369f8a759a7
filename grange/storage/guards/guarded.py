"""A store as one silo uses it: fenced against the dead, given up early while it is away, lost answers found out.

`guards.py` puts one of these before each store of a silo; grains' states go through it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from typing import TypeVar

from grange.aio.awake import AwakeTimeout
from grange.aio.throttled_log import ThrottledLog
from grange.errors import InconsistentStateError, StorageError, StorageUnavailable, WriteOutcomeUnknown
from grange.proto.ids import GrainId, SiloAddress
from grange.storage.guards.breaker import Breaker
from grange.storage.guards.death_recorder import Fence
from grange.storage.provider import GrainStorage, Stamp, StateRecord

log = logging.getLogger("grange.storage")

T = TypeVar("T")

_PAUSE = 0.05
"""Seconds before a change whose answer was lost is sent again; doubled each time."""


class GuardedStorage:
    """A `GrainStorage` on another one. `timeout` is in seconds, for each operation with all that belongs to it."""

    def __init__(self, storage: GrainStorage, fence: Fence, breaker: Breaker, timeout: float) -> None:
        self._storage = storage
        self._fence = fence
        self._breaker = breaker
        self._timeout = timeout
        self._warnings = ThrottledLog(log)
        self.fenced_writes = 0
        """Changes that the store refused because this silo was declared dead."""

    async def read(self, grain_id: GrainId, state: str) -> StateRecord:
        """See `GrainStorage.read`. Waits until every death that this silo knows of is noted in the store, and reads
        again when one came meanwhile."""
        what = f"read of state {state!r} of {grain_id}"
        await self._breaker.check(what)
        try:
            async with AwakeTimeout(self._timeout):
                return await self._read_behind_the_fence(grain_id, state)
        except TimeoutError:
            why = "the store did not answer" if self._fence.is_passed else "deaths of silos are not noted yet"
            error = StorageUnavailable(f"{what}: {why} within {self._timeout} s")
            self._breaker.failed(error)
            raise error from None
        except StorageUnavailable as error:
            self._breaker.failed(error)
            raise

    async def _read_behind_the_fence(self, grain_id: GrainId, state: str) -> StateRecord:
        while True:
            await self._fence.passed()
            rounds = self._fence.rounds
            record = await self._storage.read(grain_id, state)
            if self._fence.rounds == rounds:
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
        """See `GrainStorage.write`. With a stamp, an answer that was lost is found out while there is time."""
        return await self._change(
            f"write of state {state!r} of {grain_id}",
            lambda: self._storage.write(grain_id, state, payload, etag, schema, stamp),
            stamp,
        )

    async def clear(self, grain_id: GrainId, state: str, etag: str | None, stamp: Stamp | None = None) -> str | None:
        """See `GrainStorage.clear`, and `write`."""
        return await self._change(
            f"clear of state {state!r} of {grain_id}",
            lambda: self._storage.clear(grain_id, state, etag, stamp),
            stamp,
        )

    async def fence(self, silos: Collection[SiloAddress]) -> None:
        """See `GrainStorage.fence`."""
        await self._storage.fence(silos)

    async def _change(self, what: str, change: Callable[[], Awaitable[T]], stamp: Stamp | None) -> T:
        await self._breaker.check(what)
        deadline = asyncio.get_running_loop().time() + self._timeout
        try:
            return await change()
        except InconsistentStateError as error:
            self._note_fenced(error)
            raise
        except WriteOutcomeUnknown as error:
            self._breaker.failed(error)
            if stamp is None:
                raise
            return await self._find_out(what, change, error, deadline)
        except StorageUnavailable as error:
            self._breaker.failed(error)
            raise

    async def _find_out(
        self, what: str, change: Callable[[], Awaitable[T]], lost: WriteOutcomeUnknown, deadline: float
    ) -> T:
        """Send the same change again: with its etag and stamp it is applied once at most, whichever of the two arrives.

        Raises InconsistentStateError only if the change is certainly not stored, else WriteOutcomeUnknown.
        """
        try:
            async with asyncio.timeout_at(deadline):
                return await self._repeat(change)
        except TimeoutError:
            raise lost from None
        except InconsistentStateError as error:
            self._note_fenced(error)
            if error.fenced and error.stored == error.given:
                raise  # the record is as it was, and by the fence it stays so
            raise WriteOutcomeUnknown(
                f"{what}: its answer was lost, and the record has been changed by somebody else since ({error})"
            ) from error
        except StorageError as error:
            raise lost from error

    async def _repeat(self, change: Callable[[], Awaitable[T]]) -> T:
        pause = _PAUSE
        while True:
            await asyncio.sleep(pause)
            await self._breaker.closed()
            pause *= 2
            try:
                return await change()
            except (WriteOutcomeUnknown, StorageUnavailable) as error:
                self._breaker.failed(error)

    def _note_fenced(self, error: InconsistentStateError) -> None:
        if error.fenced:
            self.fenced_writes += 1
            self._warnings.error(str(error), "write_fenced")
