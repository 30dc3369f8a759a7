"""The connection events of a client: gateways found and lost, and the whole cluster found and lost."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import msgspec

log = logging.getLogger("grange.client")


class GatewayFound(msgspec.Struct, frozen=True):
    """A gateway (`host:port`) takes this client's calls now. It is new, or it was lost before."""

    gateway: str


class GatewayLost(msgspec.Struct, frozen=True):
    """A gateway no longer takes this client's calls. Calls use the other gateways; calls in flight there have ended."""

    gateway: str
    reason: str


class ClusterFound(msgspec.Struct, frozen=True):
    """A gateway (`host:port`) answers again after a `ClusterLost`."""

    gateway: str


class ClusterLost(msgspec.Struct, frozen=True):
    """No gateway answers. Calls wait for one within their time-outs, and the client keeps searching."""

    reason: str


ConnectionEvent = GatewayFound | GatewayLost | ClusterFound | ClusterLost

OnConnectionChange = Callable[[ConnectionEvent], None]
"""Called in the event loop with each event. It must not block. Its exceptions are logged."""

OnConnectFailure = Callable[[Exception, int], Awaitable[bool]]
"""Awaited when entering a client failed, with the error (SiloUnavailable or HandshakeRefused) and the number of
failures so far. Return True to try again for another `connect_timeout`, False to raise the error."""


class Listeners:
    """The listeners for connection events, in the order of registration."""

    def __init__(self) -> None:
        self._all: dict[object, OnConnectionChange] = {}

    def add(self, listener: OnConnectionChange) -> Callable[[], None]:
        """Call `listener` with each event from now on. Returns a function that removes it, once."""
        key = object()
        self._all[key] = listener

        def remove() -> None:
            self._all.pop(key, None)

        return remove

    def notify(self, event: ConnectionEvent) -> None:
        """Call all listeners with this event. Logs the exceptions that they raise."""
        for listener in tuple(self._all.values()):
            try:
                listener(event)
            except Exception:
                log.exception("a listener failed at %s", event, extra={"event": "listener_failed"})
