"""Finds the silo of a grain: the contract between the runtime and the rooms above it.

Three implementations: `LocalOnly` below (one process, no cluster), `directory/locator.py` and `client/gateways.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol

from grange.grains.context import Scalar
from grange.proto.ids import GrainAddress, GrainId, SiloAddress

Moved = Callable[[GrainId | None], None]
"""Takes the grain whose silo may be another one from now on; None: that of any grain."""


class Locator(Protocol):
    """Chooses the silo for a call. `calls/caller.py` calls it when this process has no activation of the grain."""

    def known(self, grain_id: GrainId, wanted: int = 0) -> SiloAddress | None:
        """The silo to try, from a cache or computed, without waiting; None: call `locate`. It may be outdated.

        `wanted` is the `interface_version` that the caller needs; 0: any.
        """
        ...

    async def locate(
        self, grain_id: GrainId, context: Mapping[str, Scalar] | None = None, wanted: int = 0
    ) -> SiloAddress:
        """Find the silo to try; asks other silos if needed. A placement strategy may look at the call's `context`.

        Raises NoSuchGrain if no silo hosts the type in a version that serves the caller, SiloUnavailable if there is no
        silo, and ActivationFailed or Overloaded if the placement finds none.
        """
        ...

    def invalidate(self, grain_id: GrainId, silo: SiloAddress, hint: SiloAddress | None, absent: bool = False) -> None:
        """Drop the cached silo of this grain, because `silo` did not have it; cache `hint` if there is one.

        `absent`: the silo was unreachable or takes no calls.
        """
        ...

    @property
    def changes(self) -> int:
        """How often the cluster has changed so far: `changed` ends with each change."""
        ...

    async def changed(self, seconds: float) -> None:
        """Wait until the cluster changes, for at most `seconds`, before a refused call is repeated.

        A change is what may let the next attempt succeed: a newer view above all.
        """
        ...

    def watch(self, moved: Moved) -> None:
        """Call `moved` from now on, before anything is awaited, when `known` may answer differently than before.

        So a caller may remember its answers. There is one watcher.
        """
        ...


class Claims(Protocol):
    """Decides which activation of a grain may run. `activations/lifecycle.py` calls it before any user code runs."""

    def claim_now(self, address: GrainAddress) -> GrainAddress | None:
        """Register this activation without waiting. Returns it as it was registered; None: `claim` must decide."""
        ...

    async def claim(self, address: GrainAddress, previous: GrainAddress | None = None) -> GrainAddress:
        """Register this activation. Returns the winner, perhaps another activation. Only the winner may run user code.

        Replaces an entry equal to `previous`. Raises SiloUnavailable if the directory does not answer in time.
        """
        ...

    async def release(self, address: GrainAddress) -> None:
        """Remove the entry if it is still exactly this activation. Never raises for an unreachable directory."""
        ...


class LocalOnly:
    """The locator and the claims of a single process: every grain is local."""

    def __init__(self, address: SiloAddress) -> None:
        self._address = address

    def known(self, grain_id: GrainId, wanted: int = 0) -> SiloAddress | None:
        """Always this process."""
        return self._address

    async def locate(
        self, grain_id: GrainId, context: Mapping[str, Scalar] | None = None, wanted: int = 0
    ) -> SiloAddress:
        """Always this process."""
        return self._address

    def invalidate(self, grain_id: GrainId, silo: SiloAddress, hint: SiloAddress | None, absent: bool = False) -> None:
        """Do nothing: there is no cache."""

    @property
    def changes(self) -> int:
        """None: see `changed`."""
        return 0

    async def changed(self, seconds: float) -> None:
        """Wait the whole time: the view never changes."""
        await asyncio.sleep(seconds)

    def watch(self, moved: Moved) -> None:
        """Do nothing: every grain is always here."""

    def claim_now(self, address: GrainAddress) -> GrainAddress:
        """The claimant wins: the catalog holds one activation per grain."""
        return address

    async def claim(self, address: GrainAddress, previous: GrainAddress | None = None) -> GrainAddress:
        """The claimant wins: the catalog holds one activation per grain."""
        return address

    async def release(self, address: GrainAddress) -> None:
        """Do nothing: there is no entry."""
