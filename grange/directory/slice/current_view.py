"""The newest membership view that this silo has applied, and waiting for a newer one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from grange.aio.signal import Signal
from grange.directory.slice.topology import Topology
from grange.errors import GrangeError
from grange.membership.model.member import View

logger = logging.getLogger("grange.directory")

Refresh = Callable[[int], Awaitable[object]]
"""Read the membership table until a view of at least this version was delivered. Membership's agent implements it."""


class CurrentView:
    """The topology under which every part of the directory decides. `cluster.py` replaces it with each view."""

    def __init__(self, refresh: Refresh) -> None:
        self.topology = Topology(View(0))
        self.changed = Signal()
        """Fires when all parts have applied a newer view, when a range becomes ready, and when a hold is lifted."""
        self._refresh = refresh

    async def reach(self, version: int, seconds: float) -> bool:
        """Return whether the view has at least this version; read the table for up to `seconds` if it has not.

        Does not raise when the table is unreachable.
        """
        if self.topology.version >= version:
            return True
        try:
            async with asyncio.timeout(seconds):
                await self._refresh(version)
        except (GrangeError, TimeoutError) as error:
            logger.warning("view %d not reached, still at %d: %s", version, self.topology.version, error)
        return self.topology.version >= version
