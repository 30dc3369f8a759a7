"""Assigns the silos that each silo probes: its successors on seeded rings, and all suspected silos. Pure.

Several rings, each a different order of the same silos, form a random expander graph: a cut between any two parts of
the cluster crosses many of its edges. The idea is from Rapid (Suresh et al. 2018), its use here from Orleans.
"""

from __future__ import annotations

from collections.abc import Container, Iterable

import xxhash

from grange.membership.model.member import SiloStatus, View
from grange.membership.model.observations import Ages
from grange.membership.model.options import MembershipOptions
from grange.membership.model.votes import fresh_votes
from grange.proto.ids import SiloAddress

PROBED = (SiloStatus.JOINING, SiloStatus.ACTIVE, SiloStatus.LEAVING)
"""Every status but DEAD: a silo that crashes while it joins or leaves must be found, too."""


def successors(me: SiloAddress, silos: Iterable[SiloAddress], count: int) -> tuple[SiloAddress, ...]:
    """The first successor of `me` on each of `count` rings that no earlier ring gave. Fewer in a small cluster."""
    all_silos = {*silos, me}
    chosen: list[SiloAddress] = []
    for seed in range(count):
        ring = _ring(all_silos, seed)
        here = ring.index(me)
        following = ring[here + 1 :] + ring[:here]
        fresh = next((silo for silo in following if silo not in chosen), None)
        if fresh is None:
            break
        chosen.append(fresh)
    return tuple(chosen)


def probers_of(me: SiloAddress, silos: Iterable[SiloAddress], count: int) -> frozenset[SiloAddress]:
    """The silos of which `me` is a successor: the inverse of `successors`, at the cost of one call of it."""
    all_silos = {*silos, me}
    rings = [_ring(all_silos, seed) for seed in range(count)]
    places = [{silo: place for place, silo in enumerate(ring)} for ring in rings]
    probers: set[SiloAddress] = set()
    for silo in all_silos - {me}:
        chosen = {silo}
        for ring, place in zip(rings, places, strict=True):
            following = (ring[(place[silo] + step) % len(ring)] for step in range(1, len(ring)))
            chosen.add(next((each for each in following if each not in chosen), silo))
        if me in chosen:
            probers.add(silo)
    return frozenset(probers)


def first_ring(me: SiloAddress, silos: Iterable[SiloAddress]) -> list[SiloAddress]:
    """The ring on which every silo is probed by its predecessor, with `me` on it."""
    return _ring({*silos, me}, 0)


def probed_by(
    me: SiloAddress, view: View, ages: Ages, options: MembershipOptions, stale: Container[SiloAddress] = ()
) -> tuple[SiloAddress, ...]:
    """The silos that `me` probes in this view: its successors, and all that are suspected or `stale`.

    An inactive silo probes none.
    """
    own = view.get(me)
    if own is None or own.status is not SiloStatus.ACTIVE:
        return ()
    members = view.with_status(*PROBED)
    chosen = successors(me, (member.address for member in members), options.probed_silos)
    doubtful = (
        member.address
        for member in members
        if member.address in stale or fresh_votes(member, ages, options.vote_expiry)
    )
    return tuple(dict.fromkeys((*chosen, *(silo for silo in doubtful if silo != me))))


def relays(me: SiloAddress, view: View, stale: Container[SiloAddress] = ()) -> tuple[SiloAddress, ...]:
    """The silos through which `me` may probe a third one: all other active silos that are not `stale`."""
    return tuple(member.address for member in view.active if member.address != me and member.address not in stale)


def _ring(silos: Iterable[SiloAddress], seed: int) -> list[SiloAddress]:
    return sorted(silos, key=lambda silo: (xxhash.xxh3_64_intdigest(str(silo).encode(), seed=seed), silo))
