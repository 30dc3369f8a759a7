"""The options of a client."""

from __future__ import annotations

import msgspec


class ClientOptions(msgspec.Struct, frozen=True):
    """How a client finds and keeps its gateways. Times are in seconds."""

    connect_timeout: float = 10.0
    """Seconds that entering a `Client` searches for a gateway before it raises. Covers a silo that is still starting.
    """
    refresh_period: float = 5.0
    """Seconds between two reads of the list of gateways. It is also read at once when a gateway fails."""
    avoid_for: float = 2.0
    """Seconds during which a gateway that failed gets no calls, if there is another."""
