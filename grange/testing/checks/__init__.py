"""Checkers of grange's promises: pure functions over recorded histories, each returning the violations it finds.

Called by the simulation and by the black-box fault tests; they also work on histories of other tests. Open `history.py`
first: the format of a history. The other files check one invariant each: `acknowledged.py` (I1, no acknowledged write
is lost), `writers.py` (I2, at most one writer), `linearizable.py` (I3), `membership.py` (I7), `outcomes.py` (I8).
`models.py` holds the models of I3.
"""

from grange.testing.checks.acknowledged import acknowledged
from grange.testing.checks.history import Event, Recorder, Violation, load
from grange.testing.checks.linearizable import linearizable
from grange.testing.checks.membership import Contact, Seen, agreement, membership
from grange.testing.checks.models import counter, register
from grange.testing.checks.outcomes import Execution, outcomes
from grange.testing.checks.writers import Turn, Write, overlaps, writers

__all__ = [
    "Contact",
    "Event",
    "Execution",
    "Recorder",
    "Seen",
    "Turn",
    "Violation",
    "Write",
    "acknowledged",
    "agreement",
    "counter",
    "linearizable",
    "load",
    "membership",
    "outcomes",
    "overlaps",
    "register",
    "writers",
]
