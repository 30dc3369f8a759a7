"""What proves to a silo that its cluster still counts on it, and when the proof is too old to start turns. Pure.

Nobody can declare a silo dead without losing contact with it first, and nobody votes sooner than `vote_after` after
that. So a silo that starts no turns `fence_after` after its last proof has stopped before anybody could take over its
grains. `self_fence.py` acts on this; docs/decisions/0060 argues it.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

import msgspec

from grange.membership.detection.monitoring_rings import PROBED, probers_of
from grange.membership.model.member import SiloStatus, View
from grange.membership.model.options import MembershipOptions
from grange.proto.ids import SiloAddress

WORKING = (SiloStatus.JOINING, SiloStatus.ACTIVE, SiloStatus.LEAVING)
"""With this status a silo may start turns."""


class Proofs(msgspec.Struct, frozen=True):
    """Times as of which this silo was certainly counted on; -inf: never.

    `heard`: everybody who watches it had its answer. `read`: it read in the table that it is not dead. `swept`: a
    majority of the active silos answered it, and none of them had seen a newer view.
    """

    heard: float
    read: float
    swept: float

    @property
    def latest(self) -> float:
        """The best of them."""
        return max(self.heard, self.read, self.swept)


def others_active(me: SiloAddress, view: View) -> tuple[SiloAddress, ...]:
    """Who could take over from `me`. Where there is nobody, nothing is fenced, and only the store protects state."""
    return tuple(member.address for member in view.active if member.address != me)


def watchers_of(me: SiloAddress, view: View, options: MembershipOptions) -> frozenset[SiloAddress]:
    """The active silos that probe `me` in this view."""
    probed = (member.address for member in view.with_status(*PROBED))
    return probers_of(me, probed, options.probed_silos).intersection(others_active(me, view))


def watched_since(
    before: Mapping[SiloAddress, float], watchers: frozenset[SiloAddress], now: float
) -> dict[SiloAddress, float]:
    """Since when each of them has watched this silo: one that is new has `fence_after` time to be heard of."""
    return {silo: before.get(silo, now) for silo in sorted(watchers)}


def heard_all(watched: Mapping[SiloAddress, float], contacts: Mapping[SiloAddress, float], unwatched: float) -> float:
    """When the one that was heard longest ago was heard; when nobody watches, `unwatched`: what was so before."""
    if not watched:
        return unwatched
    return min(max(since, contacts.get(silo, since)) for silo, since in watched.items())


def may_work(me: SiloAddress, view: View) -> bool:
    """Whether a table that says this counts on `me`."""
    own = view.get(me)
    return own is not None and own.status in WORKING and not view.is_dead(me)


class Sweep(enum.StrEnum):
    """What the answers of the other silos mean while the table is away."""

    MAJORITY = "majority"  # of the active silos, this one included, and nobody has seen a newer view
    NEWER = "newer"  # somebody has: what it says of this silo must be read first
    TOO_FEW = "too few"  # answers so far


def swept(others: tuple[SiloAddress, ...], version: int, answers: Mapping[SiloAddress, int]) -> Sweep:
    """Judge a round of questions to all `others`; `answers` are the versions of their views, `version` is one's own.

    With the table away, whoever is missing may be dead, or may hold the table and have given this silo up: so the
    larger part of the cluster goes on, and the smaller part stops.
    """
    if any(seen > version for seen in answers.values()):
        return Sweep.NEWER
    return Sweep.MAJORITY if 2 * (len(answers) + 1) > len(others) + 1 else Sweep.TOO_FEW
