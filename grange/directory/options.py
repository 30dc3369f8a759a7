"""Every number of the directory, each with its unit and its reason."""

from __future__ import annotations

import msgspec

from grange.errors import ConfigurationError


class DirectoryOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How patient the directory is, and how much it remembers. Times are in seconds."""

    cache_size: int = 100_000
    """Places of grains that this process remembers; about 100 bytes each. Grains on the ring mostly need
    none.
    """

    claim_timeout: float = 15.0
    """How long a claim or a look-up goes on trying: longer than it takes to find a death (8 s) and to recover
    a range.
    """

    release_timeout: float = 5.0
    """How long a deactivation waits for the directory. A release that is lost is repaired by the next
    claim.
    """

    ask_timeout: float = 3.0
    """How long one question to one silo may take; longer than `ready_wait`, so that the owner answers before
    it ends.
    """

    ready_wait: float = 2.0
    """How long the owner of a range that is being recovered holds a question back before it says so."""

    retry_first: float = 0.01
    """First pause before a refused question is repeated; doubles up to `retry_limit`. A newer view ends any
    pause.
    """

    retry_limit: float = 0.5
    """Longest such pause."""

    recover_page: int = 20_000
    """Most entries in one answer to a recovery question: about 60 bytes each, so 1.2 MB; fewer with long keys."""

    scan_chunk: int = 5_000
    """Activations looked at before other tasks get their turn: about 3 ms."""

    transfer_page: int = 1_000
    """Entries in one answer of a hand-over: 60 KB, and about 5 ms of the loop on either side."""

    transfer_timeout: float = 2.0
    """How long the new owner of a range waits for the next page of the owner before; then it asks the hosts instead."""

    snapshot_keep: float = 30.0
    """How long a snapshot waits to be fetched: longer than any owner may try. Whoever comes later asks the hosts."""

    death_hold: float = 1.0
    """How long grains of a silo that others declared dead are held, counted from the view that says so: it may be
    half a second until it reads that itself, and then it has stopped. 0: not at all.
    """

    check_period: float = 10.0
    """How often this silo compares what it runs with the directory, and its slice with what others run; 25% jitter."""

    check_page: int = 1_000
    """Activations in one question of that comparison: 60 KB, and a few milliseconds of the loop."""

    check_limit: int = 50_000
    """Activations compared in one period, on either side: about 0.3 s of work if none of them is local. With more,
    it takes several periods to get round.
    """

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if getattr(self, name) < 0 or (getattr(self, name) == 0 and name != "death_hold"):
                raise ConfigurationError(f"directory option {name} must be above 0, not {getattr(self, name)}")
        if self.ready_wait >= self.ask_timeout:
            raise ConfigurationError(
                f"directory option ready_wait ({self.ready_wait} s) must be shorter than "
                f"ask_timeout ({self.ask_timeout} s), or waiting questions time out instead of being answered"
            )
