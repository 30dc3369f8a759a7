"""The partition, compared with a model, and its single decisions."""

from __future__ import annotations

from itertools import permutations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from grange.directory.slice.local_registrations import page_of
from grange.directory.slice.partition import NOTHING, Conflict, Partition, Refusal, Sealed
from grange.directory.slice.ranges import RangeSet
from grange.membership.model.hash_ring import RING_SIZE, Range
from grange.proto.ids import GrainAddress, GrainId, SiloAddress

ALL = RangeSet([Range(0, RING_SIZE)])
GRAINS = [GrainId("cart", str(number)) for number in range(12)]
SILOS = [SiloAddress("silo", port, 1) for port in range(6)]
ANN = GRAINS[0]


def activation(number: int, silo: int = 0, version: int = 0, grain_id: GrainId = ANN) -> GrainAddress:
    return GrainAddress(grain_id, SILOS[silo], number, version)


def ready_partition(version: int = 5) -> Partition:
    partition = Partition()
    partition.advance(version, ALL, frozenset(SILOS), reset=False)
    partition.ready(version, ALL)
    return partition


def test_a_slice_is_taken_over_when_all_its_ranges_have_been_ready_at_once() -> None:
    """Ranges that it gains later do not change that."""
    half, other = RangeSet([Range(0, RING_SIZE // 2)]), RangeSet([Range(RING_SIZE // 2, RING_SIZE)])
    partition = Partition()
    assert not partition.taken_over
    partition.advance(5, NOTHING, frozenset(SILOS), reset=False)  # joining: it owns nothing yet
    assert not partition.taken_over
    partition.advance(6, half, frozenset(SILOS), reset=False)
    partition.advance(7, half | other, frozenset(SILOS), reset=False)
    partition.ready(6, half)
    assert not partition.taken_over
    partition.ready(7, other)
    assert partition.taken_over
    partition.advance(8, half, frozenset(SILOS), reset=False)
    partition.advance(9, half | other, frozenset(SILOS), reset=False)
    assert partition.not_ready == other
    assert partition.taken_over


def test_the_first_of_two_registrations_stays() -> None:
    """DIR-02, DIR-03, DIR-04, in one partition."""
    partition = ready_partition()
    first = partition.register(activation(1))
    assert first == activation(1, version=5)
    assert partition.register(activation(2, silo=1)) == first
    assert partition.register(activation(3), activation(2, silo=1)) == first
    assert partition.unregister(activation(2)) is None
    assert partition.lookup(ANN) == first
    assert partition.register(activation(3), activation(1)) == activation(3, version=5)
    assert partition.unregister(activation(3)) is None
    assert partition.lookup(ANN) is None


def test_registering_an_activation_again_changes_nothing() -> None:
    partition = ready_partition()
    partition.register(activation(1))
    partition.advance(6, ALL, frozenset(SILOS), reset=False)
    assert partition.register(activation(1)) == activation(1, version=5)


def test_a_silo_that_is_not_live_cannot_register() -> None:
    partition = ready_partition()
    partition.advance(6, ALL, frozenset(SILOS[1:]), reset=False)
    assert partition.register(activation(1, silo=0)) is Refusal.NOT_LIVE
    assert partition.lookup(ANN) is None


def test_recovery_keeps_the_newest_registration_in_any_order_of_answers() -> None:
    """DIR-12: recovery of a range keeps the newest registration in any order of the answers."""
    claims = [activation(7, 0, 3), activation(9, 1, 4), activation(8, 2, 4)]
    for order in permutations(claims):
        partition = Partition()
        partition.advance(5, ALL, frozenset(SILOS), reset=False)
        conflicts: list[Conflict] = []
        for claim in order:
            conflicts += partition.merge(5, [claim])
        partition.ready(5, ALL)
        assert partition.lookup(ANN) == activation(9, 1, 4)
        assert {conflict.loser for conflict in conflicts} == {claims[0], claims[2]}


def test_the_answers_of_a_silo_that_has_died_are_dropped() -> None:
    partition = Partition()
    partition.advance(5, ALL, frozenset(SILOS), reset=False)
    partition.merge(5, [activation(1, silo=1)])
    partition.advance(6, ALL, frozenset(SILOS) - {SILOS[1]}, reset=False)
    partition.merge(5, [activation(1, silo=1)])
    partition.ready(5, ALL)
    assert partition.lookup(ANN) is None


def test_an_entry_of_a_held_silo_never_replaces_one_of_a_live_silo() -> None:
    dead, live = activation(9, 1, 4), activation(2, 0, 3)
    for order in permutations([dead, live]):
        partition = Partition()
        partition.holds.begin(SILOS[1])
        partition.advance(5, ALL, frozenset(SILOS) - {SILOS[1]}, reset=False)
        assert [partition.merge(5, [one]) for one in order] == [[], []]
        partition.ready(5, ALL)
        assert partition.lookup(ANN) == live


def test_a_reset_drops_and_recovers_all_entries() -> None:
    partition = ready_partition()
    partition.register(activation(1))
    change = partition.advance(9, ALL, frozenset(SILOS), reset=True)
    assert change.gained == ALL
    assert partition.lookup(ANN) is Refusal.NOT_READY
    assert partition.merge(5, [activation(2)]) == []
    partition.ready(9, ALL)
    assert partition.lookup(ANN) is None


def test_pages_cover_each_entry_once_and_never_split_equal_hashes() -> None:
    found = [(hash, activation(number)) for number, hash in enumerate([5, 1, 3, 3, 3, 2, 9])]
    pages: list[list[int]] = []
    rest = ALL
    while rest:
        page, rest = page_of([pair for pair in found if pair[0] in rest], rest, 2)
        pages.append(sorted(hash for hash, address in found if address in page))
    assert pages == [[1, 2], [3, 3, 3], [5, 9]]


class PartitionMachine(RuleBasedStateMachine):
    """Views change while hosts register. The model is one dict by grain, and a few sets.

    `entries` also holds registrations of silos that are gone. Such an entry counts only while its silo is `held`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.partition = Partition()
        self.version = 0
        self.live = frozenset[SiloAddress]()
        self.dead = set[SiloAddress]()
        self.held = set[SiloAddress]()
        self.owned: set[GrainId] = set()
        self.pending: dict[GrainId, int] = {}
        self.doubts: list[tuple[GrainId, set[SiloAddress]]] = []
        self.entries: dict[GrainId, GrainAddress] = {}

    @rule(
        owned=st.sets(st.sampled_from(GRAINS)),
        live=st.sets(st.sampled_from(SILOS), min_size=2),
        reset=st.booleans(),
        hold=st.booleans(),
    )
    def view(self, owned: set[GrainId], live: set[SiloAddress], reset: bool, hold: bool) -> None:
        self.version += 1
        now_live = frozenset(live - self.dead)
        gone = self.live - now_live
        for silo in sorted(gone) if hold else ():
            self.partition.holds.begin(silo)
            self.held.add(silo)
        change = self.partition.advance(self.version, exactly(owned), now_live, reset)
        kept = set() if reset else self.owned & owned
        assert {grain for grain in GRAINS if grain.ring_hash in change.gained} == owned - kept
        assert change.gone == gone
        self.check_sealed(change.sealed, set() if reset else self.owned - owned)
        self.live, self.owned = now_live, owned
        self.dead |= gone
        self.entries = {grain: entry for grain, entry in self.entries.items() if grain in kept}
        self.pending = {grain: number for grain, number in self.pending.items() if grain in kept}
        self.pending |= dict.fromkeys(owned - kept, self.version)

    def check_sealed(self, sealed: Sealed | None, lost: set[GrainId]) -> None:
        if not lost:
            assert sealed is None
            return
        assert sealed is not None
        assert (sealed.after, sealed.version) == (self.version - 1, self.version)
        complete = {grain for grain in lost if grain not in self.pending}
        assert {grain for grain in lost if grain.ring_hash in sealed.ranges} == complete
        found = {entry.grain_id: entry for entry in sealed.entries}
        assert found == {grain: entry for grain, entry in self.entries.items() if grain in lost}

    @rule(back=st.integers(0, 3), grains=st.sets(st.sampled_from(GRAINS)), asked=st.booleans())
    def ready(self, back: int, grains: set[GrainId], asked: bool) -> None:
        recovery = self.version - back
        if asked:
            self.partition.holds.mark_in_doubt(exactly(grains))
            self.doubts += [(grain, set(self.held)) for grain in grains]
        self.partition.ready(recovery, exactly(grains))
        self.pending = {g: number for g, number in self.pending.items() if number != recovery or g not in grains}

    @rule(silo=st.sampled_from(SILOS))
    def lift(self, silo: SiloAddress) -> None:
        self.partition.holds.lift(silo)
        self.held.discard(silo)
        for _, silos in self.doubts:
            silos.discard(silo)

    @rule(
        back=st.integers(0, 3),
        silo=st.sampled_from(SILOS),
        found=st.dictionaries(st.sampled_from(GRAINS), st.integers(1, 5)),
    )
    def merge(self, back: int, silo: SiloAddress, found: dict[GrainId, int]) -> None:
        recovery = self.version - back
        answers = [GrainAddress(grain, silo, number, number) for grain, number in found.items()]
        conflicts = self.partition.merge(recovery, answers)
        for answer in answers:
            if self.pending.get(answer.grain_id) != recovery or silo not in self.live | self.held:
                continue
            entry = self.entries.get(answer.grain_id, answer)
            if silo in self.live and entry.silo in self.live:
                assert entry.same_activation(answer) or any(one.winner in (entry, answer) for one in conflicts)
                entry = max(entry, answer, key=lambda one: (one.version, one.activation, one.silo))
            elif silo in self.live or entry.same_activation(answer):
                entry = answer
            self.entries[answer.grain_id] = entry

    @rule(
        grain_id=st.sampled_from(GRAINS),
        silo=st.sampled_from(SILOS),
        number=st.integers(10, 13),
        previous=st.integers(9, 13),
    )
    def register(self, grain_id: GrainId, silo: SiloAddress, number: int, previous: int) -> None:
        address = GrainAddress(grain_id, silo, number)
        kept = self.entries.get(grain_id)
        entry = self.standing(grain_id)
        named = None if kept is None else GrainAddress(grain_id, kept.silo, previous)
        result = self.partition.register(address, named)
        if self.refusal(grain_id) is not None:
            assert result is self.refusal(grain_id)
            return
        if silo not in self.live:
            assert result is Refusal.NOT_LIVE
            return
        if entry is None and ((kept and kept.silo in self.held) or any(g == grain_id and s for g, s in self.doubts)):
            assert result is Refusal.HELD
            return
        same = entry is not None and (entry.silo, entry.activation) == (silo, number)
        if entry is None or (entry.activation == previous and not same):
            self.entries[grain_id] = GrainAddress(grain_id, silo, number, self.version)
        assert result == self.entries[grain_id]

    @rule(grain_id=st.sampled_from(GRAINS), silo=st.sampled_from(SILOS), number=st.integers(10, 13))
    def unregister(self, grain_id: GrainId, silo: SiloAddress, number: int) -> None:
        assert self.partition.unregister(GrainAddress(grain_id, silo, number)) == self.refusal(grain_id)
        entry = self.entries.get(grain_id)
        known = entry is not None and (entry.silo, entry.activation) == (silo, number)
        if self.refusal(grain_id) is None and known:
            del self.entries[grain_id]

    def refusal(self, grain_id: GrainId) -> Refusal | None:
        if grain_id not in self.owned:
            return Refusal.NOT_OWNER
        return Refusal.NOT_READY if grain_id in self.pending else None

    def standing(self, grain_id: GrainId) -> GrainAddress | None:
        entry = self.entries.get(grain_id)
        return entry if entry is not None and entry.silo in self.live else None

    @invariant()
    def looks_up_what_the_model_holds(self) -> None:
        for grain_id in GRAINS:
            assert self.partition.lookup(grain_id) == (self.refusal(grain_id) or self.standing(grain_id))
        assert len(self.partition) == len(self.entries)
        assert {entry.grain_id for entry in self.partition.entries} == {g for g in GRAINS if self.standing(g)}


def exactly(grains: set[GrainId]) -> RangeSet:
    return RangeSet(Range(grain.ring_hash, grain.ring_hash + 1) for grain in grains)


TestPartition = PartitionMachine.TestCase
TestPartition.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
