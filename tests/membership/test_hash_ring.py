"""The hash ring: all silos agree, every hash has an owner, and a change moves as few hashes as possible."""

from __future__ import annotations

import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from grange.membership.model.hash_ring import POINTS_PER_SILO, RING_SIZE, Range, Ring
from grange.proto.ids import GrainId, SiloAddress

silos = st.builds(SiloAddress, st.sampled_from(["a", "b", "10.0.0.1"]), st.integers(1, 65535), st.integers(1, 1 << 45))
groups = st.sets(silos, max_size=8)
hashes = st.integers(0, RING_SIZE - 1)
FROZEN = [2, 4, 0, 1, 1, 2, 1, 0, 2, 2, 3, 3, 3, 0, 1, 1, 4, 2, 3, 4]


def edges(ring: Ring) -> list[int]:
    """Hashes at which the owner changes, and their neighbours."""
    starts = [part.start for silo in ring.addresses for part in ring.ranges(silo)]
    return [hash % RING_SIZE for start in starts for hash in (start - 1, start, start + 1)]


def test_an_empty_ring_owns_nothing():
    assert Ring([]).owner(0) is None
    assert Ring([]).owner(5, allowed={SiloAddress("a", 1, 1)}) is None


def test_one_silo_owns_everything():
    silo = SiloAddress("a", 1, 1)
    ring = Ring([silo, silo])
    assert ring.ranges(silo) == [Range(0, RING_SIZE)]
    assert {ring.owner(hash) for hash in (0, 1, RING_SIZE - 1)} == {silo}


@given(groups)
def test_ranges_are_disjoint_and_cover_the_ring(group):
    """MEM-17: for any set of silos."""
    ring = Ring(group)
    parts = sorted(part for silo in group for part in ring.ranges(silo))
    assert [part.start for part in parts[1:]] == [part.end for part in parts[:-1]]
    if group:
        assert (parts[0].start, parts[-1].end) == (0, RING_SIZE)
    assert all(part.start < part.end for part in parts)


@given(groups, hashes)
def test_the_owner_is_the_silo_whose_range_holds_the_hash(group, hash):
    """Including the first and last hash of each range, and the wrap-around."""
    ring = Ring(group)
    owned = {silo: ring.ranges(silo) for silo in group}
    for each in (hash, 0, RING_SIZE - 1, *edges(ring)[:60]):
        holders = {silo for silo, parts in owned.items() if any(each in part for part in parts)}
        assert holders == ({ring.owner(each)} if group else set())


@given(st.lists(silos, max_size=8), st.randoms(), hashes)
def test_silos_agree_in_any_order_of_addresses(group, rng, hash):
    """MEM-17: the ring is a function of the set."""
    shuffled = group * 2
    rng.shuffle(shuffled)
    one, other = Ring(group), Ring(shuffled)
    assert one.owner(hash) == other.owner(hash)
    assert [one.ranges(silo) for silo in group] == [other.ranges(silo) for silo in group]


@given(groups, silos, st.lists(hashes, min_size=20, max_size=20))
def test_a_join_moves_hashes_only_to_itself_and_a_leave_moves_them_back(group, newcomer, some):
    """No hash moves between two other silos."""
    before, after = Ring(group - {newcomer}), Ring(group | {newcomer})
    for hash in (*some, *edges(after)[:60]):
        assert after.owner(hash) in {before.owner(hash), newcomer}


@given(groups, groups, st.lists(hashes, min_size=20, max_size=20))
def test_the_owner_among_allowed_silos_is_that_of_a_ring_of_only_those(group, allowed, some):
    """Silos that may host a type therefore agree among themselves."""
    ring, only = Ring(group | allowed), Ring(allowed)
    for hash in (*some, *edges(only)[:60]):
        assert ring.owner(hash, allowed) == only.owner(hash)


def test_shares_are_even():
    """64 points each: no share of ten silos is more than twice the fair share or less than half of it."""
    group = [SiloAddress("10.0.0.1", 11000 + number, 1) for number in range(10)]
    ring = Ring(group)
    shares = [sum(part.end - part.start for part in ring.ranges(silo)) / RING_SIZE * 10 for silo in group]
    assert min(shares) > 0.5
    assert max(shares) < 2
    assert sum(len(ring.ranges(silo)) for silo in group) <= POINTS_PER_SILO * 10 + 1


def test_points_are_the_same_in_every_process():
    """A frozen value: a change would move every grain of a running cluster during an upgrade."""
    group = [SiloAddress("10.0.0.1", 11000 + number, 1_700_000_000_000) for number in range(5)]
    owners = [Ring(group).owner(GrainId("cart", str(number)).ring_hash).port - 11000 for number in range(20)]
    assert owners == FROZEN
    program = (
        "from grange.membership.model.hash_ring import Ring\n"
        "from grange.proto.ids import GrainId, SiloAddress\n"
        "group = [SiloAddress('10.0.0.1', 11000 + number, 1_700_000_000_000) for number in range(5)]\n"
        "print([Ring(group).owner(GrainId('cart', str(number)).ring_hash).port - 11000 for number in range(20)])"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == str(FROZEN)
