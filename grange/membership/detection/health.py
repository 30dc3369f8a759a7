"""The local health score of this silo, from 0 (healthy) to 8. Pure.

The score multiplies this silo's own probe time-outs, and other silos discount its indirect probes by it: a silo that
misses answers because it is slow itself must not accuse others. From Lifeguard (Dadgar, Phillips, Currey: Lifeguard:
SWIM-ing with situational awareness, 2017).
"""

from __future__ import annotations

import msgspec

from grange.membership.detection.monitoring_rings import PROBED, first_ring
from grange.membership.model.member import SiloStatus, View
from grange.membership.model.observations import Ages
from grange.membership.model.votes import fresh_votes
from grange.proto.ids import SiloAddress

MAX_SCORE = 8
"""The worst score: nine times the time-outs of a healthy silo."""


class Signs(msgspec.Struct, frozen=True):
    """A silo's observations of itself. Times are in seconds.

    `lag` is the longest recent delay of its event loop. It probes `probed` silos, of which `silent` did not answer the
    last probe. `unheard`: no probes arrive although some should. `suspicions` counts active silos that suspect it.
    """

    active: bool
    lag: float = 0.0
    probed: int = 0
    silent: int = 0
    unheard: bool = False
    suspicions: int = 0


def score_of(signs: Signs) -> int:
    """The score. An inactive silo gets the worst score.

    Silent silos count against the prober only when it probes several and most of them are silent. In a cluster of two,
    a silo that hangs sends no probes either: that is one sign, not two.
    """
    if not signs.active:
        return MAX_SCORE
    cut_off = signs.probed > 1 and signs.silent * 2 > signs.probed
    only_other_hangs = signs.probed == signs.silent == 1
    unheard = signs.unheard and not only_other_hangs
    return min(MAX_SCORE, int(signs.lag) + int(cut_off) + int(unheard) + signs.suspicions)


def suspicions_of(me: SiloAddress, view: View, ages: Ages, expiry: float) -> int:
    """How many active silos have a fresh vote against `me`."""
    own = view.get(me)
    if own is None:
        return 0
    active = {member.address for member in view.active}
    return sum(vote.voter in active for vote in fresh_votes(own, ages, expiry))


def expects_probes(me: SiloAddress, view: View) -> bool:
    """Whether an active silo certainly probes `me`: its predecessor on the first ring does, if it is active."""
    ring = first_ring(me, (member.address for member in view.with_status(*PROBED)))
    before = view.get(ring[ring.index(me) - 1])
    return before is not None and before.address != me and before.status is SiloStatus.ACTIVE
