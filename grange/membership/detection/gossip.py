"""What silos say to each other about membership: probes, and the view after a change.

Gossip decides nothing: what is lost is made good by the refresh, and what is taken over is what the table
says. It only spares everybody the wait for the next read.
"""

from __future__ import annotations

import asyncio
import enum
import logging
from collections.abc import Iterable
from typing import Protocol

from grange.aio.tasks import Tasks
from grange.membership.detection.deps import MembershipDeps
from grange.membership.detection.detector import ProbeResult
from grange.membership.detection.health import WORST
from grange.membership.detection.monitoring_rings import PROBED
from grange.membership.detection.probe_responder import ProbeResponder
from grange.membership.model.member import Member, View, just_voted_dead
from grange.membership.model.messages import (
    FETCH_SERVICE,
    PROBE_FOR_SERVICE,
    PROBE_SERVICE,
    VIEW_SERVICE,
    Announcement,
    IndirectProbeReply,
    IndirectProbeRequest,
    Probe,
    ProbeReply,
    decode_announcement,
    decode_probe_for,
    decode_probed_for,
    decode_reply,
    encode,
)
from grange.membership.model.options import MembershipOptions
from grange.proto.ids import SiloAddress
from grange.runtime.system_target import SystemTargets

log = logging.getLogger("grange.membership")


class IndirectProbeResult(enum.StrEnum):
    """What came of a probe through a third silo."""

    REACHED = "reached"
    FAILED = "failed"
    DEGRADED = "degraded"
    NO_ANSWER = "no answer"


class Knowledge(Protocol):
    """What this silo knows and is told; `table/refresher.py` implements it."""

    @property
    def version(self) -> int:
        """The version of this silo's view."""
        ...

    def member(self, silo: SiloAddress) -> Member | None:
        """The silo's row in this silo's view."""
        ...

    def hint(self, version: int) -> None:
        """Another silo says that it has seen this version."""
        ...

    def hear(self, announcement: Announcement) -> None:
        """Another silo has changed the table and read it since."""
        ...

    def announcement(self) -> Announcement:
        """The newest view of this silo, for another one."""
        ...


LATE = 0.5
"""A time-out that fires so many seconds late shows that this very process was stopped or busy, not the other one."""


class Peers:
    """The other silos, as one silo's agent talks to them."""

    def __init__(self, me: SiloAddress, deps: MembershipDeps, knowledge: Knowledge, options: MembershipOptions) -> None:
        self._me = me
        self._ask = deps.ask
        self._probe_line = deps.probe_line
        self._liveness = deps.liveness
        self._answers = ProbeResponder(me, deps.liveness)
        self._knowledge = knowledge
        self._options = options
        self._mutual: set[SiloAddress] = set()
        self._tasks = Tasks()

    def serve(self, targets: SystemTargets) -> None:
        """Answer what they ask."""
        targets.serve(PROBE_SERVICE, self._answer_probe)
        targets.serve(PROBE_FOR_SERVICE, self._answer_probe_for)
        targets.serve(VIEW_SERVICE, self._hear)
        targets.serve(FETCH_SERVICE, self._answer_fetch)

    def answer_probe(self, question: bytes) -> bytes:
        """For the probe line: see `ProbeResponder`. Called from any thread."""
        return self._answers.answer_probe(question)

    async def probe(self, silo: SiloAddress, timeout: float) -> ProbeResult:
        """Whether this very generation answers within `timeout` seconds. Never raises."""
        began = asyncio.get_running_loop().time()
        if await self._answered(silo, timeout):
            self._mutual.add(silo)
            return ProbeResult.ANSWERED
        self._mutual.discard(silo)
        took = asyncio.get_running_loop().time() - began
        return ProbeResult.UNKNOWN if took > timeout + LATE else ProbeResult.MISSED

    async def ask_version(self, silo: SiloAddress, timeout: float) -> int | None:
        """The version of the view of this very generation; None when it does not answer in time. Never raises."""
        question = encode(Probe(self._knowledge.version, self._me, silo in self._mutual))
        reply = await self._replied(silo, question, timeout)
        return reply.version if reply is not None and reply.silo == silo else None

    async def fetch(self, silo: SiloAddress) -> None:
        """Take over the view of another silo, for want of the table. Never raises."""
        try:
            data = await self._ask(silo, FETCH_SERVICE, b"", self._options.gossip_timeout)
            self._knowledge.hear(decode_announcement(data))
        except Exception as error:
            # What a peer raises arrives as it was raised: anything may come instead of a view.
            log.debug("silo %s did not tell its view: %r", silo, error)

    async def probe_through(
        self, middle: SiloAddress, silo: SiloAddress, timeout: float, patience: float
    ) -> IndirectProbeResult:
        """Have `middle` probe `silo` within `timeout`; `patience` is for the way to `middle` and back. Never raises."""
        question = encode(IndirectProbeRequest(silo, timeout))
        try:
            answer = decode_probed_for(await self._ask(middle, PROBE_FOR_SERVICE, question, timeout + patience))
        except Exception as error:
            # Whatever it answers or raises in place of a finding, it has found nothing.
            log.debug("silo %s was asked to probe %s and did not answer: %r", middle, silo, error)
            return IndirectProbeResult.NO_ANSWER
        if answer.reached:
            return IndirectProbeResult.REACHED
        return IndirectProbeResult.DEGRADED if answer.score else IndirectProbeResult.FAILED

    def spread(self, announcement: Announcement, before: View) -> None:
        """Tell everybody who is not dead, or was not dead `before`: who died should know it first. Whom votes made dead
        everybody tells who learns of it: see `tell_its_death`.
        """
        data = encode(announcement)
        told = set(just_voted_dead(before, announcement.view))
        for silo in dict.fromkeys((*_living(announcement.view), *_living(before))):
            if silo != self._me and silo not in told:
                self._tasks.start(self._tell(silo, data))

    def tell_its_death(self, silo: SiloAddress, announcement: Announcement | None) -> None:
        """Tell a silo that it was voted dead: whoever declared it could not reach it, but this silo may."""
        if announcement is not None and silo != self._me:
            self._tasks.start(self._tell(silo, encode(announcement)))

    async def flush(self) -> None:
        """Wait until everybody has been told, or could not be within the gossip time-out."""
        await self._tasks.wait()

    async def close(self) -> None:
        """Drop what has not been told yet."""
        await self._tasks.close()

    async def _tell(self, silo: SiloAddress, data: bytes) -> None:
        try:
            await self._ask(silo, VIEW_SERVICE, data, self._options.gossip_timeout)
        except Exception as error:
            # Also what a peer raises that cannot read it: the refresh makes good what is lost.
            log.debug("silo %s was not told of the new view: %r", silo, error)

    async def _answered(self, silo: SiloAddress, timeout: float) -> bool:
        question = encode(Probe(self._knowledge.version, self._me, silo in self._mutual))
        reply = await self._replied(silo, question, timeout)
        return reply is not None and reply.silo == silo and reply.lag < self._options.dead_loop_after

    async def _replied(self, silo: SiloAddress, question: bytes, timeout: float) -> ProbeReply | None:
        try:
            reply = decode_reply(await self._ask_probe(silo, question, timeout))
        except Exception as error:
            # Whatever a peer answers or raises in a probe's stead, it is no answer to the probe.
            log.debug("silo %s did not answer a probe: %r", silo, error)
            return None
        self._knowledge.hint(reply.version)
        return reply

    async def _ask_probe(self, silo: SiloAddress, question: bytes, timeout: float) -> bytes:
        member = self._knowledge.member(silo)
        if self._probe_line is None or member is None or not member.probe:
            return await self._ask(silo, PROBE_SERVICE, question, timeout)
        return await self._probe_line(member, question, timeout)

    async def _answer_probe(self, question: bytes) -> bytes:
        reply = self._answers.answer_probe(question)
        self._knowledge.hint(self._liveness.newest)
        return reply

    async def _answer_probe_for(self, question: bytes) -> bytes:
        asked = decode_probe_for(question)
        longest = self._options.probe_timeout_max * (WORST + 1)
        finding = await self.probe(asked.target, min(asked.timeout, longest))
        # Who does not know whether it was itself that was late, is no witness.
        score = max(self._liveness.score, int(finding is ProbeResult.UNKNOWN))
        return encode(IndirectProbeReply(self._me, finding is ProbeResult.ANSWERED, score))

    async def _answer_fetch(self, _: bytes) -> bytes:
        return encode(self._knowledge.announcement())

    async def _hear(self, question: bytes) -> bytes:
        self._knowledge.hear(decode_announcement(question))
        return b""


def _living(view: View) -> Iterable[SiloAddress]:
    return (member.address for member in view.with_status(*PROBED))
