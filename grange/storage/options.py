"""The options of storage, the same for every provider."""

from __future__ import annotations

import msgspec

from grange.option_ranges import check_ranges, values_and_defaults


class StorageOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one storage provider. Read by the provider when it opens."""

    operation_timeout: float = 1.8
    """Seconds until an operation raises `StorageUnavailable`. A grain that waits for a lost database blocks its
    callers, so they learn of it within two seconds; a healthy database answers in milliseconds."""

    connect_timeout: float = 1.5
    """Seconds to open a connection. Below `operation_timeout`, so that an operation that has to connect first
    still ends in time."""

    payload_limit: int = 8 * 1024 * 1024
    """Bytes of one encoded state. Every write stores the whole state: spread megabytes over several grains."""

    connections: int = 16
    """Most connections that one silo opens to Redis or Postgres. Operations wait for a free one; a database
    on few cores gets slower, not faster, beyond this. SQLite always has one writer and one reader."""

    claim: bool = True
    """Whether an activation claims its stored states when it loads them, in the same round trip. Then the newest
    activation of a grain is its only writer. It costs the database one small write for each activation; without it
    an older activation may still write, once, over the same etag."""

    def __post_init__(self) -> None:
        check_ranges("storage", *values_and_defaults(self))


DEFAULT_OPTIONS = StorageOptions()
"""The options of a provider that is opened without any."""
