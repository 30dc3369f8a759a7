"""The facts of one membership view that placement and directory need. Pure. Computed once per view, read per call."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from grange.directory.slice.ranges import RangeSet
from grange.membership.model.hash_ring import Range, Ring
from grange.membership.model.member import SiloStatus, View
from grange.placement.versions import VersionPolicy
from grange.proto.ids import SiloAddress
from grange.proto.versions import by_number, parts_of

_BEFORE_ACTIVE = frozenset({None, SiloStatus.JOINING})
_AFTER_ACTIVE = frozenset({SiloStatus.LEAVING, SiloStatus.DEAD})


class Hosting(msgspec.Struct, frozen=True):
    """The active silos that take new grains of one type, ordered by address, and the name of its placement strategy.

    `allowed` is the same silos as a filter for the ring; None if that is every active silo. `versions` has all that
    host the type, each with its versions of the type's interfaces by their numbers.
    """

    silos: tuple[SiloAddress, ...]
    placement: str
    allowed: frozenset[SiloAddress] | None
    versions: Mapping[SiloAddress, Mapping[int, tuple[str, int]]]


class Topology:
    """The cluster in one view, as the directory needs it. Immutable.

    Only active silos are on the ring, own ranges and get new grains. `live` silos may still run grains: these are the
    active and the leaving ones. A silo is gone if it was in an earlier view and is no longer live. `unsettled` are the
    silos that join, leave or are suspected: the cluster is about to change.
    """

    __slots__ = (
        "_generations", "_holds", "_statuses", "_voted_dead", "cordoned", "hosting", "labels", "live", "revisions",
        "ring", "unsettled", "version",
    )  # fmt: skip

    def __init__(self, view: View) -> None:
        self.version = view.version
        self.ring = Ring(member.address for member in view.active)
        self.live = frozenset(
            member.address
            for member in view.with_status(SiloStatus.ACTIVE, SiloStatus.LEAVING)
            if not view.is_dead(member.address)
        )
        self.unsettled = frozenset(
            member.address
            for member in view.with_status(SiloStatus.JOINING, SiloStatus.ACTIVE, SiloStatus.LEAVING)
            if member.votes or member.status is not SiloStatus.ACTIVE
        )
        self.cordoned = frozenset(member.address for member in view.active if member.cordoned)
        self.labels = {member.address: frozenset(member.labels) for member in view.active}
        self.revisions = {member.address: member.revision for member in view.active}
        self.hosting = _hosting(view, self.cordoned, self.revisions)
        self._statuses = {member.address: member.status for member in view.members}
        self._voted_dead = frozenset(member.address for member in view.members if member.voted_dead)
        self._holds = {member.address: member.hold for member in view.members if member.hold is not None}
        self._generations: dict[str, int] = {}
        for address in sorted(self._statuses):
            self._generations[address.endpoint] = address.generation

    def serving(self, hosting: Hosting, wanted: int, policy: VersionPolicy) -> Hosting | None:
        """A type's hosting for callers that need this version of an interface; None: no active silo serves it."""
        number, version = parts_of(wanted)
        hosted = {silo: found.get(number, ("", 0)) for silo, found in hosting.versions.items()}
        interface = next((name for name, _ in hosted.values() if name), "")
        rules = policy.of(interface)
        serving = [silo for silo, (_, own) in hosted.items() if rules.serves(version, own)]
        if not serving:
            return None
        able = _open_to_new(serving, self.cordoned, self.revisions)
        chosen = rules.choose(version, {silo: hosted[silo][1] for silo in able})
        return Hosting(tuple(chosen), hosting.placement, frozenset(chosen), hosting.versions)

    def owner(self, hash: int) -> SiloAddress | None:
        """The silo whose slice of the directory holds this hash; None when no silo is active."""
        return self.ring.owner(hash)

    def ranges(self, silo: SiloAddress) -> RangeSet:
        """The ranges that this silo owns; empty unless it is active."""
        return RangeSet(self.ring.ranges(silo))

    def status(self, silo: SiloAddress) -> SiloStatus | None:
        """The silo's status; None if this view has no row for it."""
        return self._statuses.get(silo)

    def is_dead(self, silo: SiloAddress) -> bool:
        """Whether this generation is known to have ended: its row is dead, or its endpoint has a newer generation."""
        newest = self._generations.get(silo.endpoint, silo.generation)
        return newest > silo.generation or self._statuses.get(silo) is SiloStatus.DEAD

    def is_superseded(self, silo: SiloAddress) -> bool:
        """Whether its endpoint has a newer generation, which proves that this process is gone."""
        return self._generations.get(silo.endpoint, silo.generation) > silo.generation

    def hold_of(self, silo: SiloAddress, usual: float) -> float:
        """Seconds for which the grains of a dead silo are held: as long as its death says, by default `usual`."""
        hold = self._holds.get(silo)
        return usual if hold is None else hold

    def abrupt_deaths(self, later: Topology) -> list[SiloAddress]:
        """The silos that `later` shows as dead by other silos' votes. They may not have read that yet, and may run.

        A silo that wrote its own death, or that a newer generation at its endpoint superseded, is not among them: its
        process is gone. Silos that were dead in the first view of this silo are not among them either. A live silo
        whose row vanished was lost with the table; it may run, so it is among them.
        """
        if not self.version:
            return []
        vanished = (silo for silo in self.live if later.status(silo) is None)
        voted_dead = (silo for silo in later._voted_dead if self.status(silo) is not SiloStatus.DEAD)
        return sorted(silo for silo in {*vanished, *voted_dead} if not later.is_superseded(silo))

    def may_have_missed(self, later: Topology) -> bool:
        """Whether some silo may have been active between this view and `later`, and is active in neither.

        Such a silo owned ranges and registered grains in them, although the two views show the same owner. It can be
        recognised: its row stays in the table for hours, as leaving or dead, and this silo never saw it active. If no
        view lies between the two, there was no such silo.
        """
        if later.version == self.version + 1:
            return False
        return any(
            status in _AFTER_ACTIVE and self.status(silo) in _BEFORE_ACTIVE for silo, status in later._statuses.items()
        )


def previous_owners(
    before: Topology, after: Topology, me: SiloAddress, gained: RangeSet
) -> dict[SiloAddress, RangeSet]:
    """The live silos that owned, in the view before `after`, what `me` has gained; each with its ranges.

    Only these silos can hand over their entries. The result is empty if a view was missed, because another silo may
    have owned the ranges in between. From one view to the next, one silo joins or leaves. A larger change can only come
    from a rebuilt table; then the result is empty too.
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


def _hosting(view: View, cordoned: frozenset[SiloAddress], revisions: Mapping[SiloAddress, int]) -> dict[str, Hosting]:
    hosts: dict[str, dict[SiloAddress, Mapping[int, tuple[str, int]]]] = {}
    placements: dict[str, str] = {}
    active = view.active
    for member in active:
        for grain_type, placement in member.grains.items():
            versions = by_number(member.versions.get(grain_type, {}))
            hosts.setdefault(grain_type, {})[member.address] = versions
            # Silos may disagree during a rolling upgrade; every silo takes the value of the first host by address.
            placements.setdefault(grain_type, placement)
    return {
        grain_type: Hosting(
            tuple(silos),
            placements[grain_type],
            None if len(silos) == len(active) else frozenset(silos),
            hosts[grain_type],
        )
        for grain_type, silos in ((name, _open_to_new([*silos], cordoned, revisions)) for name, silos in hosts.items())
    }


def _open_to_new(
    silos: list[SiloAddress], cordoned: frozenset[SiloAddress], revisions: Mapping[SiloAddress, int]
) -> list[SiloAddress]:
    """The silos that take new grains: those without a cordon, and of these the ones of the newest revision.

    All of them if every one has a cordon, so that calls go on.
    """
    able = [silo for silo in silos if silo not in cordoned] or silos
    newest = max(revisions[silo] for silo in able)
    return [silo for silo in able if revisions[silo] == newest]
