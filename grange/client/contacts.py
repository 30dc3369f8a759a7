"""Which gateways a client can reach, as events. Pure: takes facts, and returns the events that they cause."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from grange.client.events import ClusterFound, ClusterLost, ConnectionEvent, GatewayFound, GatewayLost
from grange.proto.ids import SiloAddress


class Contacts:
    """The state of each gateway of the cluster: listed, and working or not.

    A gateway that the cluster does not list causes no GatewayFound and no GatewayLost.
    """

    def __init__(self) -> None:
        self._listed: frozenset[SiloAddress] = frozenset()
        self._working: set[SiloAddress] = set()
        self.cut_off = False
        """Whether no gateway answered the last attempt."""

    @property
    def not_working(self) -> list[SiloAddress]:
        """The gateways that the cluster lists and that do not work."""
        return sorted(self._listed - self._working)

    def on_list(self, gateways: Iterable[SiloAddress]) -> list[ConnectionEvent]:
        """Apply a new list of the cluster's gateways. A new gateway counts as working until it fails."""
        now = frozenset(gateways)
        gone, new = sorted(self._working - now), sorted(now - self._listed)
        self._listed = now
        self._working = (self._working & now) | set(new)
        lost = [GatewayLost(gateway.endpoint, "its silo has left the cluster") for gateway in gone]
        return [*lost, *(GatewayFound(gateway.endpoint) for gateway in new)]

    def on_failure(self, gateway: SiloAddress, reason: str) -> list[ConnectionEvent]:
        """This gateway could not be reached, closed the connection, or takes no calls."""
        if gateway not in self._working:
            return []
        self._working.discard(gateway)
        return [GatewayLost(gateway.endpoint, reason)]

    def on_answer(self, gateway: SiloAddress) -> list[ConnectionEvent]:
        """This gateway answered."""
        events: list[ConnectionEvent] = []
        if self.cut_off:
            self.cut_off = False
            events.append(ClusterFound(gateway.endpoint))
        if gateway in self._listed and gateway not in self._working:
            self._working.add(gateway)
            events.append(GatewayFound(gateway.endpoint))
        return events

    def on_no_answer(self, reasons: Mapping[SiloAddress, str]) -> list[ClusterLost]:
        """All gateways were tried and none answered, for these reasons."""
        if self.cut_off:
            return []
        self.cut_off = True
        return [ClusterLost("; ".join(f"{gateway.endpoint}: {reason}" for gateway, reason in reasons.items()))]
