"""The options of a client."""

from __future__ import annotations

from typing import Literal

import msgspec

from grange.errors import ConfigurationError
from grange.option_ranges import check_ranges, values_and_defaults


class ClientOptions(msgspec.Struct, frozen=True):
    """How a client finds and keeps its gateways. Times are in seconds.

    Raises ConfigurationError for an option out of its range.
    """

    connect_timeout: float = 10.0
    """Seconds that entering a `Client` searches for a gateway before it raises. Covers a silo that is still starting.
    """
    refresh_period: float = 5.0
    """Seconds for which a read of the list of gateways waits at a gateway for a newer one. The client keeps a read
    waiting at two gateways, and reads the list at once when one fails. Gateways of an earlier release do not wait: each
    is read once in this time.
    """
    avoid_for: float = 2.0
    """Seconds during which a gateway that failed gets no calls, if there is another. The client tries it twice in that
    time, so calls get it again when it has answered.
    """

    road: Literal["grpc", "tcp"] = "grpc"
    """How connections are carried: `grpc`, or `tcp` for plain sockets, which are faster, to the silos that have them.
    Other silos, and the first gateway, are reached by gRPC.
    """

    def __post_init__(self) -> None:
        check_ranges("client", *values_and_defaults(self))
        if self.road not in ("grpc", "tcp"):
            raise ConfigurationError(f"client option road must be 'grpc' or 'tcp', not {self.road!r:.100}")
