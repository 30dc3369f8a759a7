"""Which silo delivers the reminders of a grain: the owner of its slot on the ring of the silos that deliver any."""

from __future__ import annotations

from collections.abc import Callable

from grange.membership.model.hash_ring import Ring
from grange.membership.model.member import View
from grange.proto.ids import GrainId, SiloAddress
from grange.reminders.agenda import owned_slots
from grange.storage.sets import SLOT_BITS, slot_of

SERVICE = "grange.reminders"
"""The name under which a silo says in its row of the membership table that it delivers reminders."""


class Owners:
    """The owners in the newest view of this silo."""

    def __init__(self, view: Callable[[], View]) -> None:
        self._view = view
        self._version = -1
        self._ring = Ring(())

    def owner(self, grain_id: GrainId) -> SiloAddress | None:
        """The owner of a grain's slot. None: no active silo delivers reminders."""
        return self._newest().owner(slot_of(grain_id) << (64 - SLOT_BITS))

    def slots(self, silo: SiloAddress) -> frozenset[int]:
        """The slots of this silo."""
        return owned_slots([(each.start, each.end) for each in self._newest().ranges(silo)], SLOT_BITS)

    def _newest(self) -> Ring:
        view = self._view()
        if view.version != self._version:
            self._version = view.version
            silos = frozenset(member.address for member in view.active if SERVICE in member.services)
            if silos != self._ring.addresses:
                self._ring = Ring(silos)
        return self._ring
