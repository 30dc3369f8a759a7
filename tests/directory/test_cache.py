"""The cache, compared with a plain model."""

from __future__ import annotations

from collections import OrderedDict

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from grange.directory.cache import PlaceCache
from grange.proto.ids import GrainId, SiloAddress

SIZE = 4
grains = st.integers(0, 7).map(lambda number: GrainId("cart", str(number)))
silos = st.integers(0, 2).map(lambda port: SiloAddress("silo", port, 1))


class CacheMachine(RuleBasedStateMachine):
    """Evicts the least recently used entry. The entries of a dropped silo take space until `get` removes them."""

    def __init__(self) -> None:
        super().__init__()
        self.cache = PlaceCache(SIZE)
        self.model: OrderedDict[GrainId, SiloAddress | None] = OrderedDict()

    @rule(grain_id=grains, silo=silos)
    def put(self, grain_id: GrainId, silo: SiloAddress) -> None:
        self.cache.put(grain_id, silo)
        self.model[grain_id] = silo
        self.model.move_to_end(grain_id)
        if len(self.model) > SIZE:
            self.model.popitem(last=False)

    @rule(grain_id=grains)
    def get(self, grain_id: GrainId) -> None:
        expected = self.model.get(grain_id)
        assert self.cache.get(grain_id) == expected
        if expected is None:
            self.model.pop(grain_id, None)
        else:
            self.model.move_to_end(grain_id)

    @rule(grain_id=grains, silo=silos)
    def drop(self, grain_id: GrainId, silo: SiloAddress) -> None:
        self.get(grain_id)
        self.cache.drop(grain_id, silo)
        if self.model.get(grain_id) == silo:
            del self.model[grain_id]

    @rule(silo=silos)
    def drop_silo(self, silo: SiloAddress) -> None:
        self.cache.drop_silo(silo)
        assert silo not in self.cache.silos
        for grain_id, place in self.model.items():
            if place == silo:
                self.model[grain_id] = None

    @invariant()
    def is_bounded(self) -> None:
        assert len(self.cache) == len(self.model) <= SIZE


TestCache = CacheMachine.TestCase
