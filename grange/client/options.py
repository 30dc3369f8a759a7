"""Options of a client."""

from __future__ import annotations

import msgspec


class ClientOptions(msgspec.Struct, frozen=True):
    """Times are in seconds."""

    connect_timeout: float = 10.0
    """How long entering a `Client` looks for a gateway before it gives up; covers a silo that is still starting."""
    refresh_period: float = 5.0
    """How often the list of gateways is read again; it is also read when one fails."""
    avoid_for: float = 2.0
    """A gateway that failed gets no calls for so long, if there is another."""
