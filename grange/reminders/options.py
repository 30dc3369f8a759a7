"""The options of reminders and jobs, each with its unit and its reason."""

from __future__ import annotations

import msgspec

from grange.errors import ConfigurationError
from grange.option_ranges import check_ranges, values_and_defaults


class ReminderOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Where reminders are kept, and how a silo reads and delivers them. Times are in seconds."""

    provider: str = "default"
    """Name of the storage that keeps reminders and jobs. Reminders and states in one storage change together."""

    deliver: bool = True
    """Whether the silos of this cluster deliver. Of two clusters that share a service, as in a blue and green roll-out,
    only one may, or each tick comes in both."""

    shortest_period: float = 1.0
    """Shortest period of a reminder. A timer costs no write for each tick; below a second it is the right tool."""

    window: float = 7.0
    """Time before it is due from which a reminder is held in memory. Longer than `refresh` by the time that a read may
    take; what is due in between is read twice."""

    refresh: float = 5.0
    """Time between two reads of what is due in the window. Silos tell each other of new reminders; if that word is
    lost, a reminder is late by this time."""

    read_limit: int = 5_000
    """Most reminders that one read finds: about 2 MB of memory, and 50 ms of the event loop. Of more that are due, the
    earliest come first."""

    most_under_way: int = 500
    """Most ticks and jobs that one silo delivers at a time. Each waits for its grain, and then for the store: as many
    as one batch of changes holds, so that a late silo does not flood a slow store."""

    missed_after: float = 30.0
    """Lateness from which `missed="skip"` leaves a tick out. Longer than it takes to replace a dead silo."""

    settle: float = 0.5
    """Time after a change of the cluster before this silo reads the reminders that it owns now. The silo that had them
    learns of the change meanwhile, and stops."""

    def __post_init__(self) -> None:
        check_ranges("reminders", *values_and_defaults(self))
        if self.refresh >= self.window:
            raise ConfigurationError(
                f"reminders option refresh ({self.refresh} s) must be shorter than window ({self.window} s), or "
                "reminders come due between two reads"
            )
