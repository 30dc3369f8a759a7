"""What a client tells its owner about its connections: gateways found and lost, and the whole cluster."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import msgspec

log = logging.getLogger("grange.client")


class GatewayFound(msgspec.Struct, frozen=True):
    """A gateway (`host:port`) takes this client's calls: a new one, or one that was lost."""

    gateway: str


class GatewayLost(msgspec.Struct, frozen=True):
    """A gateway takes no calls of this client any more. Calls use the others; calls in flight there have ended."""

    gateway: str
    reason: str


class ClusterFound(msgspec.Struct, frozen=True):
    """After a `ClusterLost`: a gateway (`host:port`) answers again."""

    gateway: str


class ClusterLost(msgspec.Struct, frozen=True):
    """No gateway answers. Calls wait for one within their time-outs, and the client goes on looking."""

    reason: str


ConnectionEvent = GatewayFound | GatewayLost | ClusterFound | ClusterLost

OnConnectionChange = Callable[[ConnectionEvent], None]
"""Called in the event loop with each event; it must not block, and what it raises is logged."""

OnConnectFailure = Callable[[Exception, int], Awaitable[bool]]
"""Awaited when entering a client failed: with the error (SiloUnavailable or HandshakeRefused) and how often it has
failed by now. True: try again, for another `connect_timeout`; False: raise the error."""


class Listeners:
    """Everybody who wants to know, in the order in which they came."""

    def __init__(self) -> None:
        self._all: dict[object, OnConnectionChange] = {}

    def add(self, listener: OnConnectionChange) -> Callable[[], None]:
        """Have it called with each event. Returns what ends that; calling it twice is harmless."""
        key = object()
        self._all[key] = listener

        def remove() -> None:
            self._all.pop(key, None)

        return remove

    def tell(self, event: ConnectionEvent) -> None:
        """Call them all."""
        for listener in tuple(self._all.values()):
            try:
                listener(event)
            except Exception:
                log.exception("a listener failed at %s", event, extra={"event": "listener_failed"})
