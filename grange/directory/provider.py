"""The contract of a grain directory: which activation is a grain's one. `partitioned.py` implements it."""

from __future__ import annotations

from typing import Protocol

from grange.proto.ids import GrainAddress, GrainId


class GrainDirectory(Protocol):
    """A map from grain id to the address of its one activation. Called by `locator.py` and by management.

    Each operation is atomic per grain. All raise `SiloUnavailable` when the directory cannot answer in time;
    a `register` or `unregister` that raised may have been done, and may be repeated.
    """

    async def register(self, address: GrainAddress, previous: GrainAddress | None = None) -> GrainAddress:
        """Make this the entry of its grain, and return the entry that then stands: this one, or the one it
        lost to.

        An existing entry stays, unless it is the same activation as `previous` or its silo is gone.
        """
        ...

    async def lookup(self, grain_id: GrainId) -> GrainAddress | None:
        """The entry of this grain; None: it is registered nowhere."""
        ...

    async def unregister(self, address: GrainAddress) -> None:
        """Remove the grain's entry if it is this very activation; else change nothing."""
        ...
