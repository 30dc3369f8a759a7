"""Reports why work on the table failed: an outage as the event `table_unreachable`, any other error as a warning."""

from __future__ import annotations

import logging

from grange.aio.throttled_log import ThrottledLog
from grange.errors import MembershipUnavailable
from grange.observability.catalogue import TableUnreachable
from grange.observability.events import Events

log = logging.getLogger("grange.membership")


class Troubles:
    """The reports of one silo. The writer and the refresher of the table share them. Made by `agent.py`."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._warnings = ThrottledLog(log)

    def report(self, work: str, error: Exception) -> None:
        """Report that this work failed; it is tried again."""
        if isinstance(error, MembershipUnavailable):
            self._events.publish(TableUnreachable(work, str(error)))
        else:
            self._warnings.warning(work, error)
