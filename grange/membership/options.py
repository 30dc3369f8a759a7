"""Every number of the membership protocol, each with its unit and its reason."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from grange.errors import ConfigurationError


class MembershipOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How fast and how surely silos notice each other. Every silo of a cluster should use the same.

    The defaults aim at a dead silo being declared after 4 s (median) and 8 s (maximum). Times are in seconds.
    """

    probe_interval: float = 1.0
    """From the start of one probe of a silo to the start of the next."""

    probe_timeout: float = 1.0
    """How long an answer may take; with the interval and the limit it bounds detection: 3 x 1 s and one interval."""

    missed_limit: int = 3
    """Probes missed in a row before a vote: one or two happen in a healthy cluster (a pause, a reconnect)."""

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

    gossip_timeout: float = 3.0
    """How long one silo may take to accept a view sent to it; a lost one is made good by the refresh."""

    stop_timeout: float = 5.0
    """How long a stopping silo tries to write its own death; after that the others find out by their probes."""

    backoff_first: float = 2.0
    """First pause after the table could not be reached; doubles up to `backoff_limit`."""

    backoff_limit: float = 10.0
    """Longest such pause: a table that returns is noticed within this time."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if getattr(self, name) <= 0:
                raise ConfigurationError(f"membership option {name} must be above 0, not {getattr(self, name)}")
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
