"""Which gateways a client has contact with, as events. Pure: it is told what is known and returns what is news."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from grange.client.events import ClusterFound, ClusterLost, ConnectionEvent, GatewayFound, GatewayLost
from grange.proto.ids import SiloAddress


class Contacts:
    """The gateways that work, by all that is known. One that was never listed is of no interest, however it is."""

    def __init__(self) -> None:
        self._listed: frozenset[SiloAddress] = frozenset()
        self._working: set[SiloAddress] = set()
        self.cut_off = False
        """Whether no gateway answers."""

    @property
    def missed(self) -> list[SiloAddress]:
        """Those that the cluster shows and that do not work."""
        return sorted(self._listed - self._working)

    def listed(self, gateways: Iterable[SiloAddress]) -> list[ConnectionEvent]:
        """These are the gateways of the cluster now; new ones count as working until they are tried."""
        now = frozenset(gateways)
        gone, new = sorted(self._working - now), sorted(now - self._listed)
        self._listed = now
        self._working = (self._working & now) | set(new)
        lost = [GatewayLost(gateway.endpoint, "its silo has left the cluster") for gateway in gone]
        return [*lost, *(GatewayFound(gateway.endpoint) for gateway in new)]

    def failed(self, gateway: SiloAddress, reason: str) -> list[ConnectionEvent]:
        """It could not be reached, broke off, or takes no calls."""
        if gateway not in self._working:
            return []
        self._working.discard(gateway)
        return [GatewayLost(gateway.endpoint, reason)]

    def answered(self, gateway: SiloAddress) -> list[ConnectionEvent]:
        """It works."""
        events: list[ConnectionEvent] = []
        if self.cut_off:
            self.cut_off = False
            events.append(ClusterFound(gateway.endpoint))
        if gateway in self._listed and gateway not in self._working:
            self._working.add(gateway)
            events.append(GatewayFound(gateway.endpoint))
        return events

    def nobody_answers(self, reasons: Mapping[SiloAddress, str]) -> list[ClusterLost]:
        """All were tried."""
        if self.cut_off:
            return []
        self.cut_off = True
        return [ClusterLost("; ".join(f"{gateway.endpoint}: {reason}" for gateway, reason in reasons.items()))]
