"""The hash rings of silo services: which silo owns a key of which service, in one view of the cluster."""

from __future__ import annotations

from collections.abc import Callable

from grange.membership.model.hash_ring import Ring
from grange.membership.model.member import View
from grange.proto.ids import GrainId, SiloAddress


class ServiceRings:
    """The rings of all services, made anew for a newer view. Each has the active silos that run the service."""

    def __init__(self, view: Callable[[], View]) -> None:
        self._view = view
        self._version = -1
        self._rings: dict[str, Ring] = {}

    def of(self, service: str) -> Ring:
        """The ring of this service in the newest view."""
        view = self._view()
        if view.version != self._version:
            self._version, self._rings = view.version, {}
        ring = self._rings.get(service)
        if ring is None:
            ring = Ring(member.address for member in view.active if service in member.services)
            self._rings[service] = ring
        return ring

    def owner(self, place: GrainId) -> SiloAddress | None:
        """The silo that owns a key (`place` has the service as its type); None: no active silo runs the service."""
        return self.of(place.type).owner(place.ring_hash)

    def ranges(self, service: str, silo: SiloAddress) -> tuple[tuple[int, int], ...]:
        """The ranges of this silo."""
        return tuple((each.start, each.end) for each in self.of(service).ranges(silo))
