"""The options of the membership protocol, each with its unit and its reason."""

from __future__ import annotations

import msgspec

from grange.errors import ConfigurationError
from grange.option_ranges import check_ranges, values_and_defaults

FENCE_MARGIN = 0.25
"""Seconds by which a fence must precede a vote: the travel time of a probe, and the lateness of timers."""


class MembershipOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How fast and how reliably silos detect each other's death. All silos of a cluster should use the same values.

    The defaults aim at declaring a silo that hangs dead after 3 s (median) and 5 s (maximum).
    A process that ends is found sooner (`detection/crash_detector.py`). Times are seconds of the event
    loop's clock. So is the age of a row or vote: the time for which this silo has seen it unchanged.
    """

    probe_interval: float = 0.5
    """Seconds from the start of one probe of a silo to the start of the next."""

    probe_timeout: float = 0.75
    """First time-out of a probe in seconds. After four answers of a silo the time-out adapts to their durations."""

    probe_timeout_min: float = 0.5
    """Shortest adapted time-out in seconds: a shorter pause of a silo causes no missed probe."""

    probe_timeout_max: float = 5.0
    """Longest adapted time-out in seconds. The local health score stretches it up to nine times, see
    `membership/detection/health.py`."""

    missed_limit: int = 3
    """Probes missed in a row before a vote. One or two occur in a healthy cluster (a pause, a reconnect)."""

    vote_after: float = 2.6
    """Shortest time in seconds from the start of the first missed probe to a vote. By then a silo that is cut off has
    fenced itself, so no silo that still starts turns is declared dead.
    """

    fence_after: float = 2.25
    """Age in seconds of the last proof of membership at which a silo starts no more turns; at least 0.25 s below
    `vote_after`.
    """

    fence_limit: float = 300.0
    """Seconds after which a fenced silo ends its process: it cannot repair the fault of its machine or network."""

    pause_gap: float = 1.0
    """Seconds between two ticks of the event loop's watchdog (normally 0.25 s) above which the process stood still. The
    silo then needs a new proof of membership before its next turn.
    """

    dead_loop_after: float = 60.0
    """Seconds of lag of its event loop at which a silo counts as silent, although its probe thread answers. Its process
    then ends by itself (`exit_on_dead_loop`). At least twice `pause_gap`.
    """

    connection_veto: bool = True
    """Whether bytes that still arrive from a suspect withhold the vote against it: they prove that it lives."""

    probed_silos: int = 3
    """Number of silos that each silo probes. Three seeded rings form a random graph in which a cut is found quickly."""

    votes: int = 2
    """Fresh votes of different silos that declare a death; at most half of the live silos, rounded up, are required."""

    vote_expiry: float = 60.0
    """Seconds for which a silo counts a vote that it sees: two disturbances an hour apart must declare no death."""

    alive_period: float = 2.0
    """Seconds between two writes of a silo's alive time. Detection does not need them; a cold start does: a silo that
    starts after all others were killed may vote out their rows once it has seen them unchanged for `alive_period` x
    `alive_missed`.
    """

    alive_missed: int = 4
    """Periods without such a write that make a silo stale. The reader counts them on its own clock: the silos' clocks
    need not agree.
    """

    refresh_period: float = 10.0
    """Longest time in seconds between two reads of the table, jittered down to half. A read makes up for lost gossip.
    """

    join_timeout: float = 120.0
    """Seconds that a silo tries to become active; longer than `alive_period` x `alive_missed`: after that time it may
    vote out the rows of killed silos.
    """

    evict_stuck_joiners: bool = True
    """Whether the active silo with the lowest address declares silos dead that join for longer than `join_timeout`."""

    cleanup: bool = True
    """Whether the active silo with the lowest address removes old rows of dead silos."""

    cleanup_period: float = 3600.0
    """Seconds between two such removals."""

    dead_kept_for: float = 604800.0
    """Seconds after which a row that the cleaning silo has seen dead for so long is removed: a week, to examine the
    deaths of a weekend.
    """

    dead_kept: int = 25
    """Rows of dead silos kept at most; the oldest go first. Rows with a vote younger than `vote_expiry` stay, and so
    does the row of the highest generation: later generations must be higher.
    """

    gossip_timeout: float = 3.0
    """Seconds that another silo has to accept a view. The periodic refresh replaces a lost one."""

    stop_timeout: float = 5.0
    """Seconds that a stopping silo tries to write its own death. After that the other silos find out by probes."""

    rebuild_after: float = 10.0
    """Seconds that the silos wait for a lost table before they rebuild it: a restarted or restored database is better.
    Half as long for a table that went back in time.
    """

    backoff_first: float = 2.0
    """Seconds of the first pause after the table could not be reached; it doubles up to `backoff_limit`."""

    backoff_limit: float = 10.0
    """Seconds of the longest such pause: a silo notices within this time that the table is back."""

    def __post_init__(self) -> None:
        check_ranges("membership", *values_and_defaults(self))
        if self.fence_after + FENCE_MARGIN > self.vote_after:
            raise ConfigurationError(
                f"membership option fence_after ({self.fence_after} s) must be at least {FENCE_MARGIN} s below "
                f"vote_after ({self.vote_after} s), or a silo could be declared dead before it has fenced itself"
            )
        if self.dead_loop_after < 2 * self.pause_gap:
            raise ConfigurationError(
                f"membership option dead_loop_after ({self.dead_loop_after} s) must be at least twice pause_gap "
                f"({self.pause_gap} s), or a short pause would end a healthy process"
            )
        if self.probe_timeout_min > self.probe_timeout_max:
            raise ConfigurationError(
                f"membership option probe_timeout_min ({self.probe_timeout_min} s) is above probe_timeout_max "
                f"({self.probe_timeout_max} s)"
            )
        if self.join_timeout <= self.stale_after:
            raise ConfigurationError(
                f"membership option join_timeout ({self.join_timeout} s) must be longer than alive_period x "
                f"alive_missed ({self.stale_after} s), or a cold start never ends"
            )

    @property
    def refusal_hold(self) -> float:
        """Seconds after which a silo that was declared dead because it refuses connections has fenced itself."""
        return self.fence_after + FENCE_MARGIN

    @property
    def stale_after(self) -> float:
        """Seconds of an unchanged `alive` time after which its silo counts as stale."""
        return self.alive_period * self.alive_missed
