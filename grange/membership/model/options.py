"""Every number of the membership protocol, each with its unit and its reason."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from grange.errors import ConfigurationError

FENCE_MARGIN = 0.25
"""Seconds that a fence comes before a vote: for the way of a probe, and for timers that are late."""


class MembershipOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How fast and how surely silos notice each other. Every silo of a cluster should use the same.

    The defaults aim at a dead silo being declared after 4 s (median) and 8 s (maximum). Times are in seconds of the
    event loop's clock, but for ages of rows and votes, which are told by the wall clock.
    """

    probe_interval: float = 1.0
    """From the start of one probe of a silo to the start of the next."""

    probe_timeout: float = 1.0
    """How long an answer may take before it is known how long answers take; after four of them it adapts to them."""

    probe_timeout_min: float = 0.5
    """Shortest time-out that it adapts to: a pause of less than this is not even a missed probe."""

    probe_timeout_max: float = 5.0
    """Longest one. A silo that is in trouble itself waits up to nine times as long, see `detection/health.py`."""

    missed_limit: int = 3
    """Probes missed in a row before a vote: one or two happen in a healthy cluster (a pause, a reconnect)."""

    vote_after: float = 3.25
    """Nobody votes sooner than this after the start of the first missed probe: until then a silo that is cut off has
    fenced itself, so no death is declared of one that still starts turns.
    """

    fence_after: float = 2.75
    """Without proof of contact for so long a silo starts no turns; at least 0.25 s below `vote_after`."""

    fence_limit: float = 300.0
    """A silo that was fenced for so long ends: where it runs, something is broken that it will not repair."""

    pause_gap: float = 1.0
    """So long between two ticks of the event loop's watchdog (0.25 s apart) means that the process stood still; it then
    asks whether it was given up meanwhile before the next turn starts.
    """

    dead_loop_after: float = 60.0
    """A silo whose event loop is behind by so much counts as silent, although its probe thread answers."""

    connection_veto: bool = True
    """Whether bytes that still come from a suspect withhold the vote against it: it lives, whatever the probes say."""

    probed_silos: int = 3
    """How many others each silo probes: three seeded rings make a random graph in which a cut is soon seen."""

    votes: int = 2
    """Fresh votes of different silos that make a death; one is enough while at most half as many live."""

    vote_expiry: float = 60.0
    """Age at which a vote no longer counts, so that two unrelated hiccups an hour apart kill nobody."""

    alive_period: float = 2.0
    """How often a silo writes that it lives. Not needed for detection; it is what a cold start judges corpses by:
    who starts after all were killed waits period x missed, as long as a death takes at most.
    """

    alive_missed: int = 4
    """Periods without such a write that make a silo stale. Silos' clocks must agree within period x missed."""

    refresh_period: float = 10.0
    """Longest time between two reads of the table (jittered down to half): what gossip lost is found then."""

    join_timeout: float = 120.0
    """How long a silo tries to become active; longer than `stale_after`, so that corpses can be voted out meanwhile."""

    evict_stuck_joiners: bool = True
    """Whether the first active silo declares those dead that have been joining for longer than `join_timeout`."""

    cleanup: bool = True
    """Whether the first active silo removes rows of the long dead."""

    cleanup_period: float = 3600.0
    """How often it looks for them, and at most one round of removals in this time."""

    dead_kept_for: float = 604800.0
    """Age at which the row of a dead silo is removed: a week, to look into what happened on a weekend."""

    dead_kept: int = 25
    """Rows of dead silos kept at most, the oldest go first; those suspected within `vote_expiry` stay."""

    gossip_timeout: float = 3.0
    """How long one silo may take to accept a view sent to it; a lost one is made good by the refresh."""

    stop_timeout: float = 5.0
    """How long a stopping silo tries to write its own death; after that the others find out by their probes."""

    rebuild_after: float = 10.0
    """How long a lost table is waited for before the silos rebuild it: a restart of the database, or an operator who
    restores it, is better. Half as long for a table that is there but went back in time.
    """

    backoff_first: float = 2.0
    """First pause after the table could not be reached; doubles up to `backoff_limit`."""

    backoff_limit: float = 10.0
    """Longest such pause: a table that returns is noticed within this time."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if value <= 0 and not isinstance(value, bool):
                raise ConfigurationError(f"membership option {name} must be above 0, not {value}")
        if self.fence_after + FENCE_MARGIN > self.vote_after:
            raise ConfigurationError(
                f"membership option fence_after ({self.fence_after} s) must be at least {FENCE_MARGIN} s below "
                f"vote_after ({self.vote_after} s), or a silo could be declared dead before it has fenced itself"
            )
        if self.probe_timeout_min > self.probe_timeout_max:
            raise ConfigurationError(
                f"membership option probe_timeout_min ({self.probe_timeout_min} s) is above probe_timeout_max "
                f"({self.probe_timeout_max} s)"
            )
        if self.join_timeout <= self.alive_period * self.alive_missed:
            raise ConfigurationError(
                f"membership option join_timeout ({self.join_timeout} s) must be longer than alive_period x "
                f"alive_missed ({self.alive_period * self.alive_missed} s), or a cold start never ends"
            )

    @property
    def stale_after(self) -> timedelta:
        """Age of a silo's `alive` time at which nobody counts on it any more."""
        return timedelta(seconds=self.alive_period * self.alive_missed)

    @property
    def vote_window(self) -> timedelta:
        """`vote_expiry` as a time span."""
        return timedelta(seconds=self.vote_expiry)
