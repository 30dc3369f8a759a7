"""The system target that answers which silos this one doubts, and why: probes, votes, connections."""

from __future__ import annotations

from grange.membership.agent import MembershipAgent
from grange.membership.model.member import Member, SiloStatus
from grange.proto.acts import Level
from grange.proto.inspection import DOUBTS, DoubtRow, Doubts
from grange.proto.management import encode
from grange.runtime.system_target import SystemTargets
from grange.transport.peers import Peers


class DoubtsTarget:
    """One silo's row of the matrix "which silo doubts which"."""

    def __init__(self, agent: MembershipAgent, peers: Peers) -> None:
        self._agent = agent
        self._peers = peers

    def serve(self, targets: SystemTargets) -> None:
        """Offer the system target."""
        targets.serve(DOUBTS, self._answer, Level.VIEWER)

    def doubts(self) -> Doubts:
        """How this silo sees each other silo that is not dead, now."""
        view, me = self._agent.view, self._agent.me
        others = (each for each in view.members if each.address != me and each.status is not SiloStatus.DEAD)
        return Doubts(me, view.version, tuple(map(self._row, others)), self._agent.incarnation)

    def _row(self, member: Member) -> DoubtRow:
        silo, agent = member.address, self._agent
        took = agent.last_answer(silo)
        return DoubtRow(
            silo,
            probed=silo in agent.probed,
            rtt=-1.0 if took is None else took,
            missed=agent.missed(silo),
            voted=any(vote.voter == agent.me for vote in member.votes),
            connected=self._peers.current(silo) is not None,
        )

    async def _answer(self, _: bytes) -> bytes:
        return encode(self.doubts())
