"""How well this silo is itself: a score from 0 (well) to 8. Pure.

Local health multiplies one's own probe time-outs, and says to others how much one's word is worth: a silo that is in
trouble should doubt itself before it accuses others. From Lifeguard (Dadgar, Phillips, Currey: Lifeguard: SWIM-ing
with situational awareness, 2017).
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from grange.membership.detection.monitoring_rings import PROBED, first_ring
from grange.membership.model.member import SiloStatus, View
from grange.membership.model.votes import fresh_votes
from grange.proto.ids import SiloAddress

WORST = 8
"""The highest score: nine times the time-outs of a healthy silo."""


class Signs(msgspec.Struct, frozen=True):
    """What a silo sees of itself. Times are in seconds.

    `lag` is the longest that its event loop was late of late; `probed` others are watched by it, of which `silent` did
    not answer the last probe; `unheard` says that nobody's probes come although somebody's should; `suspicions` counts
    active silos that suspect it.
    """

    active: bool
    lag: float = 0.0
    probed: int = 0
    silent: int = 0
    unheard: bool = False
    suspicions: int = 0


def score_of(signs: Signs) -> int:
    """The score. Who is not active has no say at all.

    That most others are silent says something only of a silo that watches several.
    """
    if not signs.active:
        return WORST
    cut_off = signs.probed > 1 and signs.silent * 2 > signs.probed
    return min(WORST, int(signs.lag) + int(cut_off) + int(signs.unheard) + signs.suspicions)


def suspicions_of(me: SiloAddress, view: View, now: datetime, window: timedelta) -> int:
    """How many active silos have a fresh vote against `me`."""
    own = view.get(me)
    if own is None:
        return 0
    active = {member.address for member in view.active}
    return sum(vote.voter in active for vote in fresh_votes(own, now, window))


def expects_probes(me: SiloAddress, view: View) -> bool:
    """Whether somebody active surely probes `me`: its predecessor on the first ring is."""
    ring = first_ring(me, (member.address for member in view.with_status(*PROBED)))
    before = view.get(ring[ring.index(me) - 1])
    return before is not None and before.address != me and before.status is SiloStatus.ACTIVE
