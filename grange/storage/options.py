"""The options of storage, the same for every provider."""

from __future__ import annotations

from dataclasses import dataclass

from grange.errors import ConfigurationError


@dataclass(frozen=True, kw_only=True)
class StorageOptions:
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

    def __post_init__(self) -> None:
        for name in ("operation_timeout", "connect_timeout", "payload_limit", "connections"):
            if getattr(self, name) <= 0:
                raise ConfigurationError(f"storage option {name} must be positive, not {getattr(self, name)}")


DEFAULT_OPTIONS = StorageOptions()
"""The options of a provider that is opened without any."""
