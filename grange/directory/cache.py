"""Where grains were last seen: a bounded memory, least recently used first out. Pure."""

from __future__ import annotations

from collections import OrderedDict

from grange.proto.ids import GrainId, SiloAddress


class _Place:
    """One silo, shared by all grains cached there, so that its death is one assignment however many they
    are.
    """

    __slots__ = ("silo",)

    def __init__(self, silo: SiloAddress) -> None:
        self.silo: SiloAddress | None = silo


class PlaceCache:
    """At most `size` grains and the silos they were last seen on. It may be wrong: whoever is asked says
    so.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: OrderedDict[GrainId, _Place] = OrderedDict()
        self._places: dict[SiloAddress, _Place] = {}

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def silos(self) -> list[SiloAddress]:
        """The silos that something was remembered on, and that were not dropped."""
        return list(self._places)

    def get(self, grain_id: GrainId) -> SiloAddress | None:
        """The silo, unless unknown or dropped since. Makes the entry the most recently used one."""
        place = self._entries.get(grain_id)
        if place is None:
            return None
        if place.silo is None:
            del self._entries[grain_id]
        else:
            self._entries.move_to_end(grain_id)
        return place.silo

    def put(self, grain_id: GrainId, silo: SiloAddress) -> None:
        """Remember, and forget the least recently used entry when there is no room."""
        place = self._places.get(silo)
        if place is None:
            place = self._places[silo] = _Place(silo)
        self._entries[grain_id] = place
        self._entries.move_to_end(grain_id)
        if len(self._entries) > self._size:
            self._entries.popitem(last=False)

    def drop(self, grain_id: GrainId, silo: SiloAddress) -> None:
        """Forget the grain if it is remembered on this silo; a newer place stays."""
        if self.get(grain_id) == silo:
            del self._entries[grain_id]

    def drop_silo(self, silo: SiloAddress) -> None:
        """Forget everything on this silo. Costs the same for any number of entries; they leave as they are
        met.
        """
        place = self._places.pop(silo, None)
        if place is not None:
            place.silo = None
