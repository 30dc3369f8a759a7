"""Where is a grain? The contract between the runtime, which asks, and the rooms above, which know.

Three implementations: `LocalOnly` below (one process, no cluster), `directory/locator.py` and `client/gateways.py`.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from grange.proto.ids import GrainAddress, GrainId, SiloAddress


class Locator(Protocol):
    """Says which silo a call goes to. `calls/caller.py` asks it when this process has no activation of the grain."""

    def known(self, grain_id: GrainId) -> SiloAddress | None:
        """Where to send now, when that needs no waiting: from the cache, or computed. It may be wrong."""
        ...

    async def locate(self, grain_id: GrainId) -> SiloAddress:
        """Where to send, asking others if need be.

        Raises `NoSuchGrain` when no silo hosts the type and `SiloUnavailable` when there is no silo at all.
        """
        ...

    def forget(self, grain_id: GrainId, silo: SiloAddress, hint: SiloAddress | None, absent: bool = False) -> None:
        """The grain was not at `silo`: drop that from the cache, and remember `hint` if there is one.

        `absent`: the silo itself could not be reached, or takes no calls.
        """
        ...

    async def changed(self, seconds: float) -> None:
        """Wait until the cluster as known changes, at most so long. Called before a refused call is repeated."""
        ...


class Claims(Protocol):
    """Decides which activation of a grain may run. `activations/lifecycle.py` asks it before any user code."""

    async def claim(self, address: GrainAddress, previous: GrainAddress | None = None) -> GrainAddress:
        """Register this activation; returns the winner, which may be another one. Only the winner may run user code.

        An entry equal to `previous` is replaced. Raises `SiloUnavailable` when the directory cannot answer in time.
        """
        ...

    async def release(self, address: GrainAddress) -> None:
        """Remove the entry if it is still this very activation. Never raises for an unreachable directory."""
        ...


class LocalOnly:
    """Everything is here: the locator and claims of a process that is alone."""

    def __init__(self, here: SiloAddress) -> None:
        self._here = here

    def known(self, grain_id: GrainId) -> SiloAddress | None:
        """Always this process."""
        return self._here

    async def locate(self, grain_id: GrainId) -> SiloAddress:
        """Always this process."""
        return self._here

    def forget(self, grain_id: GrainId, silo: SiloAddress, hint: SiloAddress | None, absent: bool = False) -> None:
        """Nothing is remembered, so nothing is forgotten."""

    async def changed(self, seconds: float) -> None:
        """Nothing ever changes; a refused call is repeated after its pause."""
        await asyncio.sleep(seconds)

    async def claim(self, address: GrainAddress, previous: GrainAddress | None = None) -> GrainAddress:
        """The claimant wins: the catalog already holds one activation per grain."""
        return address

    async def release(self, address: GrainAddress) -> None:
        """There is nothing to release."""
