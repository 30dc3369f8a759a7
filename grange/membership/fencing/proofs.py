"""Proofs of membership: evidence that no other silo has declared this silo dead. Pure; used by `fence_state.py`.

Another silo must lose contact with this one before it can vote, and votes no sooner than `vote_after` later. A silo
that starts no turns from `fence_after` after its last proof has therefore stopped before any other silo could take
over its grains. ADRs 0037 and 0038 argue it.
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
"""A silo with one of these statuses may start turns."""


class Proofs(msgspec.Struct, frozen=True):
    """Times as of which this silo was certainly a member, each the start of the question that proved it; -inf: never.

    `heard`: every silo that watches it received its answer. `read`: the table showed it as not dead. `swept`: a
    majority of the active silos answered it, and none of them had seen a newer view.
    """

    heard: float
    read: float
    swept: float

    @property
    def latest(self) -> float:
        """The most recent proof."""
        return max(self.heard, self.read, self.swept)


def others_active(me: SiloAddress, view: View) -> tuple[SiloAddress, ...]:
    """The silos that could take over from `me`. Without any, `me` is not fenced; only the store protects state (R7)."""
    return tuple(member.address for member in view.active if member.address != me)


def watchers_of(me: SiloAddress, view: View, options: MembershipOptions) -> frozenset[SiloAddress]:
    """The active silos that probe `me` in this view."""
    probed = (member.address for member in view.with_status(*PROBED))
    return probers_of(me, probed, options.probed_silos).intersection(others_active(me, view))


def watched_since(
    before: Mapping[SiloAddress, float], watchers: frozenset[SiloAddress], now: float
) -> dict[SiloAddress, float]:
    """The time since when each watcher watches this silo. A new one has `fence_after` from then for its first probe."""
    return {silo: before.get(silo, now) for silo in sorted(watchers)}


def heard_all(watched: Mapping[SiloAddress, float], contacts: Mapping[SiloAddress, float], unwatched: float) -> float:
    """The least recent contact among the watchers; without any, `unwatched`, the value before the last watcher left."""
    if not watched:
        return unwatched
    return min(max(since, contacts.get(silo, since)) for silo, since in watched.items())


def may_work(me: SiloAddress, view: View) -> bool:
    """Whether a table with this view shows `me` as a living member."""
    own = view.get(me)
    return own is not None and own.status in WORKING and not view.is_dead(me)


class Sweep(enum.StrEnum):
    """The verdict on the other silos' answers while the table does not answer."""

    MAJORITY = "majority"  # of the active silos, this one included, and none has seen a newer view
    NEWER = "newer"  # a silo has seen a newer view, which may declare this one dead: fetch it first
    TOO_FEW = "too few"  # answers so far


def swept(others: tuple[SiloAddress, ...], version: int, answers: Mapping[SiloAddress, int]) -> Sweep:
    """Judge the answers of a sweep over `others`: the versions of their views. `version` is that of this silo's view.

    A silo that does not answer may be dead, or may reach the table and have declared this one dead. Therefore the
    larger part of the cluster runs turns without the table (rule R8), and the smaller part stops.
    """
    if any(seen > version for seen in answers.values()):
        return Sweep.NEWER
    return Sweep.MAJORITY if 2 * (len(answers) + 1) > len(others) + 1 else Sweep.TOO_FEW
