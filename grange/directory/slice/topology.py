"""What follows from one view for placement and directory. Pure, computed once per view, asked with every
call.
"""

from __future__ import annotations

import msgspec

from grange.directory.slice.ranges import RangeSet
from grange.membership.model.hash_ring import Range, Ring
from grange.membership.model.member import SiloStatus, View
from grange.proto.ids import SiloAddress

_BEFORE_ACTIVE = frozenset({None, SiloStatus.JOINING})
_PAST_ACTIVE = frozenset({SiloStatus.LEAVING, SiloStatus.DEAD})


class Hosting(msgspec.Struct, frozen=True):
    """Who hosts one grain type: active silos ordered by address, and the name of the type's placement
    strategy.

    `allowed` is the same silos for the ring to pick from; None when every active silo is one of them.
    """

    silos: tuple[SiloAddress, ...]
    placement: str
    allowed: frozenset[SiloAddress] | None


class Topology:
    """The cluster of one view, as the directory needs it. Immutable.

    Only active silos are on the ring, own ranges and get new grains. `live` silos may still run grains: the
    active ones and those that are leaving. A silo is gone when it was in a view and is no longer live.
    """

    __slots__ = ("_generations", "_statuses", "_voted_dead", "hosting", "live", "ring", "version")

    def __init__(self, view: View) -> None:
        self.version = view.version
        self.ring = Ring(member.address for member in view.active)
        self.live = frozenset(
            member.address
            for member in view.with_status(SiloStatus.ACTIVE, SiloStatus.LEAVING)
            if not view.is_dead(member.address)
        )
        self.hosting = _hosting(view)
        self._statuses = {member.address: member.status for member in view.members}
        self._voted_dead = frozenset(member.address for member in view.members if member.voted_dead)
        self._generations: dict[str, int] = {}
        for address in sorted(self._statuses):
            self._generations[address.endpoint] = address.generation

    def owner(self, hash: int) -> SiloAddress | None:
        """The silo whose slice of the directory holds this hash; None when no silo is active."""
        return self.ring.owner(hash)

    def ranges(self, silo: SiloAddress) -> RangeSet:
        """What this silo's slice covers; nothing unless it is active."""
        return RangeSet(self.ring.ranges(silo))

    def status(self, silo: SiloAddress) -> SiloStatus | None:
        """The silo's status; None when this view does not know it (not yet, or no more)."""
        return self._statuses.get(silo)

    def is_dead(self, silo: SiloAddress) -> bool:
        """Whether this run of the silo is known to be over: its row says so, or its endpoint has a newer
        run.
        """
        newest = self._generations.get(silo.endpoint, silo.generation)
        return newest > silo.generation or self._statuses.get(silo) is SiloStatus.DEAD

    def is_superseded(self, silo: SiloAddress) -> bool:
        """Whether its endpoint has a newer run, which proves that this process is gone."""
        return self._generations.get(silo.endpoint, silo.generation) > silo.generation

    def abrupt_deaths(self, later: Topology) -> list[SiloAddress]:
        """The silos that `later` shows dead, by the votes of others, and that may therefore not have noticed.

        Not those that wrote their own death, or were killed by a newer run at their endpoint: these are gone. Not
        those that were dead in the first view that this silo saw. A silo without a row was lost with the table: it is
        taken for one that may run.
        """
        if not self.version:
            return []
        vanished = (silo for silo in self.live if later.status(silo) is None)
        struck = (silo for silo in later._voted_dead if self.status(silo) is not SiloStatus.DEAD)
        return sorted(silo for silo in {*vanished, *struck} if not later.is_superseded(silo))

    def may_have_missed(self, later: Topology) -> bool:
        """Whether, between this view and `later`, some silo may have been active that is active in neither.

        Such a silo owned ranges that look as if they had stayed where they are, and registered grains in
        them. Its row stays in the table for hours, so it is there to be seen: as one that left or died
        without ever having been seen active. No view in between means no such silo.
        """
        if later.version == self.version + 1:
            return False
        return any(
            status in {SiloStatus.LEAVING, SiloStatus.DEAD} and self.status(silo) in {None, SiloStatus.JOINING}
            for silo, status in later._statuses.items()
        )


def previous_owners(
    before: Topology, after: Topology, me: SiloAddress, gained: RangeSet
) -> dict[SiloAddress, RangeSet]:
    """Who can hand over what `me` has gained with `after`: live silos that owned it in the very view before.

    Nobody when a view was missed: somebody may have owned it in between. From one view to the next one silo comes or
    goes; more than that can only be a rebuilt table, and nobody is trusted with it.
    """
    joined, left = after.ring.addresses - before.ring.addresses, before.ring.addresses - after.ring.addresses
    if after.version != before.version + 1 or len(joined) + len(left) != 1:
        return {}
    if left:
        return {silo: gained for silo in left if silo in after.live}
    parts: dict[SiloAddress, list[Range]] = {}
    for part in gained.ranges:
        owner = before.ring.owner(part.start)
        if owner is not None and owner in after.live and owner != me:
            parts.setdefault(owner, []).append(part)
    return {silo: RangeSet(parts[silo]) for silo in sorted(parts)}


def _hosting(view: View) -> dict[str, Hosting]:
    hosts: dict[str, list[SiloAddress]] = {}
    placements: dict[str, str] = {}
    active = view.active
    for member in active:
        for grain_type, placement in member.grains.items():
            hosts.setdefault(grain_type, []).append(member.address)
            # During a rolling upgrade silos may disagree; all take the word of the first by address.
            placements.setdefault(grain_type, placement)
    return {
        grain_type: Hosting(
            tuple(silos),
            placements[grain_type],
            None if len(silos) == len(active) else frozenset(silos),
        )
        for grain_type, silos in hosts.items()
    }
