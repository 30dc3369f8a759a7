"""The newest view that this silo has seen, and waiting for a newer one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from grange.aio.signal import Signal
from grange.directory.slice.topology import Topology
from grange.errors import GrangeError
from grange.membership.model.member import View

logger = logging.getLogger(__name__)

Refresh = Callable[[int], Awaitable[object]]
"""Read the membership table until a view of at least this version has been delivered; membership's agent does
it.
"""


class CurrentView:
    """The topology that everything in this room decides under; `cluster.py` puts it forward, view by view."""

    def __init__(self, refresh: Refresh) -> None:
        self.topology = Topology(View(0))
        self.changed = Signal()
        """Fired after each newer view has been taken in by the whole room."""
        self._refresh = refresh

    async def reach(self, version: int, seconds: float) -> bool:
        """Whether the view is at least of this version, after getting it if need be. Never raises for a lost
        table.
        """
        if self.topology.version >= version:
            return True
        try:
            async with asyncio.timeout(seconds):
                await self._refresh(version)
        except (GrangeError, TimeoutError) as error:
            logger.warning("view %d not reached, still at %d: %s", version, self.topology.version, error)
        return self.topology.version >= version
