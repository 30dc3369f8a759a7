"""Messages between silos about membership: probes, and the view after a change.

Gossip decides nothing: the periodic refresh replaces lost messages, and every view comes from the table. Gossip only
saves the other silos the wait for their next read.
"""

from __future__ import annotations

import asyncio
import enum
import logging
from collections.abc import Callable, Iterable
from typing import Protocol

from grange.aio.tasks import Tasks
from grange.membership.detection.deps import MembershipDeps
from grange.membership.detection.detector import ProbeResult
from grange.membership.detection.health import MAX_SCORE
from grange.membership.detection.monitoring_rings import PROBED
from grange.membership.detection.probe_responder import ProbeResponder
from grange.membership.model.evidence import Evidence
from grange.membership.model.member import Member, View, just_voted_dead
from grange.membership.model.messages import (
    FETCH_SERVICE,
    LOOK_SERVICE,
    PROBE_FOR_SERVICE,
    PROBE_SERVICE,
    VIEW_SERVICE,
    Announcement,
    IndirectProbeReply,
    IndirectProbeRequest,
    Look,
    Probe,
    ProbeReply,
    decode_announcement,
    decode_look_reply,
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
    """The result of a probe through a third silo. DEGRADED: the third silo is unhealthy, so its miss is not counted."""

    REACHED = "reached"
    FAILED = "failed"
    DEGRADED = "degraded"
    NO_ANSWER = "no answer"


class Knowledge(Protocol):
    """The view of this silo, and the receiver of hints and announcements; `table/refresher.py` implements it."""

    @property
    def version(self) -> int:
        """The version of this silo's view."""
        ...

    def member(self, silo: SiloAddress) -> Member | None:
        """The silo's row in this silo's view."""
        ...

    def hint(self, version: int) -> None:
        """Note that another silo has seen this version."""
        ...

    def on_announcement(self, announcement: Announcement) -> None:
        """Take over the view of another silo."""
        ...

    def announcement(self) -> Announcement:
        """The newest view of this silo."""
        ...


STOP_THRESHOLD = 0.5
"""Seconds by which a time-out must fire late to show that this process was stopped or busy, not the probed silo."""


class Peers:
    """The other silos, as one silo's agent reaches them. Made by `agent.py`."""

    def __init__(self, me: SiloAddress, deps: MembershipDeps, knowledge: Knowledge, options: MembershipOptions) -> None:
        self._me = me
        self._ask = deps.ask
        self._probe_line = deps.probe_line
        self._liveness = deps.liveness
        self._responder = ProbeResponder(me, deps.liveness)
        self._knowledge = knowledge
        self._options = options
        self._mutual: set[SiloAddress] = set()
        self._tasks = Tasks()
        self.on_missed: Callable[[SiloAddress], None] = _ignore
        """Called when a silo has not answered a probe."""

    def serve(self, targets: SystemTargets) -> None:
        """Answer the questions of other silos."""
        targets.serve(PROBE_SERVICE, self._answer_probe)
        targets.serve(PROBE_FOR_SERVICE, self._answer_probe_for)
        targets.serve(VIEW_SERVICE, self._on_announcement)
        targets.serve(FETCH_SERVICE, self._answer_fetch)

    def answer_probe(self, question: bytes) -> bytes:
        """Answer a probe that came by the probe line; see `ProbeResponder`. Called from any thread."""
        return self._responder.answer_probe(question)

    async def probe(self, silo: SiloAddress, timeout: float) -> ProbeResult:
        """Probe this generation, and wait `timeout` seconds for the answer. Never raises."""
        began = asyncio.get_running_loop().time()
        if await self._answered(silo, timeout):
            self._mutual.add(silo)
            return ProbeResult.ANSWERED
        self._mutual.discard(silo)
        self.on_missed(silo)
        took = asyncio.get_running_loop().time() - began
        return ProbeResult.UNKNOWN if took > timeout + STOP_THRESHOLD else ProbeResult.MISSED

    async def answers(self, silo: SiloAddress) -> bool:
        """Probe a silo once with the configured first time-out; whether it answered. Never raises."""
        return await self.probe(silo, self._options.probe_timeout) is ProbeResult.ANSWERED

    async def ask_version(self, silo: SiloAddress, timeout: float) -> int | None:
        """The version of this generation's view; None when it does not answer in time. Never raises."""
        question = encode(Probe(self._knowledge.version, self._me, silo in self._mutual))
        reply = await self._replied(silo, question, timeout)
        return reply.version if reply is not None and reply.silo == silo else None

    async def fetch(self, silo: SiloAddress) -> None:
        """Take over the view of another silo when the table is not reachable. Never raises."""
        try:
            data = await self._ask(silo, FETCH_SERVICE, b"", self._options.gossip_timeout)
            self._knowledge.on_announcement(decode_announcement(data))
        except Exception as error:
            # A peer's exceptions arrive as it raised them, and its answer may be malformed: catch all of them.
            log.debug("silo %s did not send its view: %r", silo, error)

    async def probe_through(
        self, relay: SiloAddress, silo: SiloAddress, timeout: float, relay_timeout: float
    ) -> IndirectProbeResult:
        """Have `relay` probe `silo` within `timeout`, and add `relay_timeout` for the way to `relay` and back.

        Never raises.
        """
        question = encode(IndirectProbeRequest(silo, timeout))
        try:
            answer = decode_probed_for(await self._ask(relay, PROBE_FOR_SERVICE, question, timeout + relay_timeout))
        except Exception as error:
            # Any other answer, and any exception, is no result of a probe.
            log.debug("silo %s was asked to probe %s and did not answer: %r", relay, silo, error)
            return IndirectProbeResult.NO_ANSWER
        if answer.reached:
            return IndirectProbeResult.REACHED
        return IndirectProbeResult.DEGRADED if answer.score else IndirectProbeResult.FAILED

    async def look_through(self, silo: SiloAddress, target: SiloAddress, timeout: float) -> Evidence | None:
        """See `crash_detector.OtherSilos`."""
        try:
            found = decode_look_reply(await self._ask(silo, LOOK_SERVICE, encode(Look(target)), timeout))
        except Exception as error:
            # A silo of an earlier release does not know the question. Any exception is no evidence.
            log.debug("silo %s was asked to look at %s and did not answer: %r", silo, target, error)
            return None
        if found.gone:
            return Evidence.GONE
        return Evidence.REFUSED if found.refused else None

    def announce(self, announcement: Announcement, before: View) -> None:
        """Send a view to all silos that are not dead in it, or were not dead `before`: a silo must learn of its death.

        Silos declared dead by votes are left out: each silo that learns of such a death calls `announce_death` for it.
        """
        data = encode(announcement)
        left_out = set(just_voted_dead(before, announcement.view))
        for silo in dict.fromkeys((*_living(announcement.view), *_living(before))):
            if silo != self._me and silo not in left_out:
                self._tasks.start(self._send_view(silo, data))

    def announce_death(self, silo: SiloAddress, announcement: Announcement | None) -> None:
        """Send a silo the view in which it was voted dead. The voters could not reach it, but this silo may."""
        if announcement is not None and silo != self._me:
            self._tasks.start(self._send_view(silo, encode(announcement)))

    async def flush(self) -> None:
        """Wait until every announcement was accepted, or has exceeded the gossip time-out."""
        await self._tasks.wait()

    async def close(self) -> None:
        """Drop the announcements under way."""
        await self._tasks.close()

    async def _send_view(self, silo: SiloAddress, data: bytes) -> None:
        try:
            await self._ask(silo, VIEW_SERVICE, data, self._options.gossip_timeout)
        except Exception as error:
            # A peer that cannot decode the view raises, too. The refresh replaces a lost announcement.
            log.debug("silo %s did not accept the new view: %r", silo, error)

    async def _answered(self, silo: SiloAddress, timeout: float) -> bool:
        question = encode(Probe(self._knowledge.version, self._me, silo in self._mutual))
        reply = await self._replied(silo, question, timeout)
        return reply is not None and reply.silo == silo and reply.lag < self._options.dead_loop_after

    async def _replied(self, silo: SiloAddress, question: bytes, timeout: float) -> ProbeReply | None:
        try:
            reply = decode_reply(await self._ask_probe(silo, question, timeout))
        except Exception as error:
            # Any other answer, and any exception, is no answer to the probe.
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
        reply = self._responder.answer_probe(question)
        self._knowledge.hint(self._liveness.newest)
        return reply

    async def _answer_probe_for(self, question: bytes) -> bytes:
        asked = decode_probe_for(question)
        longest = self._options.probe_timeout_max * (MAX_SCORE + 1)
        result = await self.probe(asked.target, min(asked.timeout, longest))
        # A silo that may have been late itself is no witness: it answers with a score above 0.
        score = max(self._liveness.score, int(result is ProbeResult.UNKNOWN))
        return encode(IndirectProbeReply(self._me, result is ProbeResult.ANSWERED, score))

    async def _answer_fetch(self, _: bytes) -> bytes:
        return encode(self._knowledge.announcement())

    async def _on_announcement(self, question: bytes) -> bytes:
        self._knowledge.on_announcement(decode_announcement(question))
        return b""


def _ignore(_: SiloAddress) -> None:
    """The default `on_missed`."""


def _living(view: View) -> Iterable[SiloAddress]:
    return (member.address for member in view.with_status(*PROBED))
