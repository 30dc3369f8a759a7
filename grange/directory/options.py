"""The options of the directory, each with its unit and its reason."""

from __future__ import annotations

import msgspec

from grange.errors import ConfigurationError
from grange.option_ranges import check_ranges, values_and_defaults


class DirectoryOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Time-outs, page sizes and periods of the directory. Times are in seconds."""

    cache_size: int = 100_000
    """Most grains whose silo this process caches, at about 100 bytes each. Grains with ring placement mostly need none.
    """

    claim_timeout: float = 15.0
    """Seconds that a claim or a look-up is repeated. Longer than detecting a death (5 s) and recovering a range."""

    release_timeout: float = 5.0
    """Seconds that a deactivation waits for the directory. The next claim repairs a lost release."""

    ask_timeout: float = 3.0
    """Seconds that one request to one silo may take. Longer than `ready_wait`, so that the owner can refuse in time."""

    ready_wait: float = 2.0
    """Seconds that the owner of a range under recovery delays a request before it refuses."""

    retry_first: float = 0.01
    """Seconds of the first pause before a refused request is repeated. Doubles up to `retry_limit`, with jitter."""

    retry_limit: float = 0.5
    """Seconds of the longest pause before a refused request is repeated. A newer view ends any pause."""

    recover_page: int = 20_000
    """Most entries in one answer to a recovery request: about 60 bytes each, so 1.2 MB. Fewer with long keys."""

    scan_chunk: int = 5_000
    """Activations that a recovery scans before it yields to the event loop: about 3 ms."""

    transfer_page: int = 1_000
    """Entries in one page of a hand-over: 60 KB, and about 5 ms of the event loop on either side."""

    transfer_timeout: float = 2.0
    """Seconds that the new owner of a range waits for the next page of the previous owner. Then it asks the hosts."""

    snapshot_keep: float = 30.0
    """Seconds that a snapshot is kept: longer than any new owner may try to fetch it. A later owner asks the hosts."""

    death_hold: float = 1.0
    """Seconds that the grains of a silo declared dead by votes are held, from the view with its death. That silo may
    take half a second to read its death, and then it has stopped. 0 turns holds off.
    """

    check_period: float = 10.0
    """Seconds, with 25% jitter, between two comparisons of this silo's activations with the directory, and of its slice
    with the other silos' activations.
    """

    check_page: int = 1_000
    """Activations in one request of that comparison: 60 KB, and a few milliseconds of the event loop."""

    check_limit: int = 50_000
    """Most activations compared in one period, in each direction: about 0.3 s of work if none is local. With more
    activations, a full comparison takes several periods.
    """

    client_return: float = 3.0
    """Seconds that calls to an observer wait for its client to connect again, after it lost its connection to a silo.
    A client whose gateway dies connects to another one within a second."""

    def __post_init__(self) -> None:
        check_ranges("directory", *values_and_defaults(self), zero={"death_hold"})
        if self.ready_wait >= self.ask_timeout:
            raise ConfigurationError(
                f"directory option ready_wait ({self.ready_wait} s) must be shorter than "
                f"ask_timeout ({self.ask_timeout} s), or waiting requests time out instead of being answered"
            )
