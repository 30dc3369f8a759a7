"""A lease: a lock between processes that ends by itself, with a token that the resource checks (`document.py`)."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass

from grange import Grain, PersistentState, cancellable, response_timeout

SECONDS = 10.0
"""Length of a lease. A holder that works longer renews it in time."""


class LeaseBusy(Exception):
    """Another holder kept the lease for as long as the caller wanted to wait."""


class LeaseLost(Exception):
    """The lease was released, or granted to another holder."""


@dataclass
class Grant:
    """The newest grant; it ends at `until`, in seconds since 1970. No holder: the lease is free."""

    holder: str = ""
    token: int = 0
    until: float = 0.0


class Lease(Grain, name="lease", reentrant=True, errors=[LeaseBusy, LeaseLost]):
    """One lock; its key names what it protects. Reentrant, so that a holder can renew while others wait."""

    def __init__(self, grant: PersistentState[Grant]) -> None:
        self._grant = grant
        self._now = asyncio.get_running_loop().time
        self._ends = 0.0
        self._queue = asyncio.Lock()  # first come, first served
        self._changed = asyncio.Event()

    async def on_activate(self) -> None:
        """Go on with a stored grant. The clock of its silo may differ: it has at most the length of a lease left."""
        self._ends = self._now() + min(SECONDS, self._grant.value.until - time.time())

    @cancellable
    @response_timeout(30, cancel=True)  # a caller that is gone leaves the queue
    async def acquire(self, holder: str, patience: float = 0.0) -> int:
        """Lock, and return the token. Raises LeaseBusy after `patience` seconds, below 30. A holder may repeat it."""
        try:
            async with asyncio.timeout(patience) as limit, self._queue:
                await self._free_for(holder)
                limit.reschedule(None)  # a grant that is being stored is not given up
                return await self._store(holder, self._grant.value.token + 1)
        except TimeoutError:
            raise LeaseBusy(self._grant.value.holder) from None

    async def renew(self, token: int) -> None:
        """Keep the lock for `SECONDS` from now. Raises LeaseLost."""
        if token != self._grant.value.token or not self._grant.value.holder:
            raise LeaseLost(f"token {token}; the newest is {self._grant.value.token}")
        await self._store(self._grant.value.holder, token)

    async def release(self, token: int) -> None:
        """Unlock. A token that is not the newest changes nothing."""
        if token == self._grant.value.token:
            await self._store("", token)

    async def _free_for(self, holder: str) -> None:
        while self._grant.value.holder not in {"", holder} and self._now() < self._ends:
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(self._ends):
                    await self._changed.wait()

    async def _store(self, holder: str, token: int) -> int:
        self._grant.value = Grant(holder, token, time.time() + SECONDS)
        self._ends = self._now() + SECONDS
        self._changed.set()
        await self._grant.write()
        return token
