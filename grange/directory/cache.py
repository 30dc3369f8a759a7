"""A bounded cache of the silos on which grains were last seen. Evicts the least recently used entry. Pure."""

from __future__ import annotations

from collections import OrderedDict

from grange.proto.ids import GrainId, SiloAddress


class _Place:
    """One silo, shared by all grains cached there. So dropping a silo is one assignment for any number of grains."""

    __slots__ = ("silo",)

    def __init__(self, silo: SiloAddress) -> None:
        self.silo: SiloAddress | None = silo


class PlaceCache:
    """At most `size` grains with the silos on which they were last seen.

    An entry may be out of date. The silo that gets the call refuses it then, and the locator drops the entry.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: OrderedDict[GrainId, _Place] = OrderedDict()
        self._places: dict[SiloAddress, _Place] = {}

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def silos(self) -> list[SiloAddress]:
        """The silos that have had cached grains and were not dropped."""
        return list(self._places)

    def get(self, grain_id: GrainId) -> SiloAddress | None:
        """The grain's silo, or None if it is unknown or was dropped. Marks the entry as the most recently used."""
        place = self._entries.get(grain_id)
        if place is None:
            return None
        if place.silo is None:
            del self._entries[grain_id]
        else:
            self._entries.move_to_end(grain_id)
        return place.silo

    def put(self, grain_id: GrainId, silo: SiloAddress) -> None:
        """Cache the grain's silo. Evicts the least recently used entry if the cache is full."""
        place = self._places.get(silo)
        if place is None:
            place = self._places[silo] = _Place(silo)
        self._entries[grain_id] = place
        self._entries.move_to_end(grain_id)
        if len(self._entries) > self._size:
            self._entries.popitem(last=False)

    def drop(self, grain_id: GrainId, silo: SiloAddress) -> None:
        """Remove the grain if it is cached on this silo; an entry on another silo stays."""
        if self.get(grain_id) == silo:
            del self._entries[grain_id]

    def drop_silo(self, silo: SiloAddress) -> None:
        """Drop all grains on this silo. Costs the same for any number of entries; `get` removes each one later."""
        place = self._places.pop(silo, None)
        if place is not None:
            place.silo = None
