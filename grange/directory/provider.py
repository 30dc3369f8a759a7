"""The contract of a grain directory: it maps each grain to its one registered activation.

`directory_client.py` implements it.
"""

from __future__ import annotations

from typing import Protocol

from grange.proto.ids import GrainAddress, GrainId


class GrainDirectory(Protocol):
    """A map from grain id to the address of its one activation. Called by `locator.py` and the consistency checker.

    Each operation is atomic per grain. All raise `SiloUnavailable` if the directory cannot answer in time. A `register`
    or `unregister` that raised may have taken effect, and may be repeated.
    """

    def register_now(self, address: GrainAddress) -> GrainAddress | None:
        """`register` without waiting. None: it would wait, and nothing was registered."""
        ...

    async def register(self, address: GrainAddress, previous: GrainAddress | None = None) -> GrainAddress:
        """Register the activation, and return the grain's entry afterwards: this activation, or the one it lost to.

        An existing entry stays, unless it is the same activation as `previous` or its silo is gone.
        """
        ...

    async def lookup(self, grain_id: GrainId) -> GrainAddress | None:
        """The entry of this grain, or None if it has none."""
        ...

    async def unregister(self, address: GrainAddress) -> None:
        """Remove the grain's entry if it is this very activation; else change nothing."""
        ...
