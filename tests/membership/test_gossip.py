"""How a silo treats the messages of another: only a correct answer is an answer."""

from __future__ import annotations

import asyncio
import random

import msgspec
import pytest

from grange.errors import CallTimeout, SiloUnavailable
from grange.membership.detection.deps import MembershipDeps
from grange.membership.detection.detector import ProbeResult
from grange.membership.detection.gossip import IndirectProbeResult, Peers
from grange.membership.detection.liveness import TICK, Liveness
from grange.membership.detection.probe_responder import ProbeResponder
from grange.membership.model.member import ROW_FORMAT, SiloStatus, make_view
from grange.membership.model.messages import (
    PROBE_FOR_SERVICE,
    PROBE_SERVICE,
    VIEW_SERVICE,
    Announcement,
    IndirectProbeReply,
    IndirectProbeRequest,
    Probe,
    ProbeReply,
    decode_announcement,
    decode_probe,
    decode_probe_for,
    decode_probed_for,
    decode_reply,
    encode,
)
from grange.membership.model.options import MembershipOptions
from grange.proto.acts import Level
from grange.runtime.system_target import SystemTargets
from grange.testing.loop import VirtualTime
from tests.membership.cluster import address, member

JOINING, ACTIVE, LEAVING, DEAD = SiloStatus
ME, TARGET, MIDDLE = address(0), address(1, generation=5), address(2)


class Knowledge:
    """Records the hints and views from other silos."""

    version = 7

    def __init__(self) -> None:
        self.hints: list[int] = []
        self.heard: list[Announcement] = []

    def member(self, silo):
        return None

    def hint(self, version: int) -> None:
        self.hints.append(version)

    def on_announcement(self, announcement: Announcement) -> None:
        self.heard.append(announcement)


class Answers:
    """Answers every question the same way, and records the questions."""

    def __init__(self, answer: bytes | Exception) -> None:
        self.answer = answer
        self.asked: list[tuple] = []

    async def __call__(self, silo, service: str, question: bytes, timeout: float) -> bytes:
        self.asked.append((silo, service, question))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def peers(answer: bytes | Exception) -> tuple[Peers, Knowledge, Answers]:
    knowledge, answers = Knowledge(), Answers(answer)
    deps = MembershipDeps(ask=answers, liveness=Liveness(lambda: 0.0), rng=random.Random(1))
    return Peers(ME, deps, knowledge, MembershipOptions()), knowledge, answers


async def test_the_probed_generation_answers():
    """Its version becomes a hint."""
    mine, knowledge, _ = peers(encode(ProbeReply(TARGET, 9)))
    assert await mine.probe(TARGET, 1.0) is ProbeResult.ANSWERED
    assert knowledge.hints == [9]


@pytest.mark.parametrize(
    "answer",
    [
        encode(ProbeReply(address(1, generation=6), 9)),
        encode(ProbeReply(ME, 9)),
        b"",
        b"\xc1rubbish",
        SiloUnavailable("down"),
        CallTimeout("late"),
        ValueError("the other side's own error, sent back"),
    ],
    ids=str,
)
async def test_other_replies_are_no_answer(answer):
    """Another generation at the same endpoint, malformed bytes, refusals, and exceptions of the other side."""
    mine, _, _ = peers(answer)
    assert await mine.probe(TARGET, 1.0) is ProbeResult.MISSED


async def test_a_silo_whose_loop_is_dead_does_not_answer():
    """F8: its probe thread answers and reports the lag of the loop; a minute is too much."""
    behind = [(59.9, ProbeResult.ANSWERED), (60.0, ProbeResult.MISSED), (1e9, ProbeResult.MISSED)]
    for lag, expected in behind:
        mine, _, _ = peers(encode(ProbeReply(TARGET, 9, lag)))
        assert await mine.probe(TARGET, 1.0) is expected


async def test_a_probe_reports_whether_the_previous_one_was_answered():
    """Decision 2: the other side learns that its answers arrive."""
    mine, _, answers = peers(encode(ProbeReply(TARGET, 9)))
    for answer in (answers.answer, SiloUnavailable("down"), answers.answer, answers.answer):
        answers.answer = answer
        await mine.probe(TARGET, 1.0)
    asked = [decode_probe(question) for _, _, question in answers.asked]
    assert [probe.mutual for probe in asked] == [False, True, False, True]
    assert {(probe.prober, probe.version) for probe in asked} == {(ME, 7)}


async def test_a_time_out_that_fires_late_is_not_counted():
    """A stopped process finds its timers expired before it can read the answers in its sockets."""
    mine, _, _ = peers(b"")
    took: list[float] = []

    async def ask(silo, service, question, timeout):
        await asyncio.sleep(took[-1])
        raise CallTimeout("late")

    mine._ask = ask
    with VirtualTime(asyncio.get_running_loop()).installed():
        for seconds, expected in ((1.0, ProbeResult.MISSED), (1.4, ProbeResult.MISSED), (1.6, ProbeResult.UNKNOWN)):
            took.append(seconds)
            assert await mine.probe(TARGET, 1.0) is expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (encode(IndirectProbeReply(MIDDLE, True, 0)), IndirectProbeResult.REACHED),
        (encode(IndirectProbeReply(MIDDLE, True, 5)), IndirectProbeResult.REACHED),
        (encode(IndirectProbeReply(MIDDLE, False, 0)), IndirectProbeResult.FAILED),
        (encode(IndirectProbeReply(MIDDLE, False, 1)), IndirectProbeResult.DEGRADED),
        (b"rubbish", IndirectProbeResult.NO_ANSWER),
        (SiloUnavailable("down"), IndirectProbeResult.NO_ANSWER),
        (CallTimeout("late"), IndirectProbeResult.NO_ANSWER),
    ],
    ids=str,
)
async def test_the_result_of_a_third_silo(answer, expected):
    """MEM-11: a failure counts only from a healthy silo."""
    mine, _, answers = peers(answer)
    assert await mine.probe_through(MIDDLE, TARGET, 1.0, 0.5) is expected
    ((asked, service, question),) = answers.asked
    assert (asked, service, decode_probe_for(question)) == (
        MIDDLE,
        PROBE_FOR_SERVICE,
        IndirectProbeRequest(TARGET, 1.0),
    )


@pytest.mark.parametrize(("score", "answers_it"), [(0, True), (0, False), (3, False)])
async def test_a_probe_on_behalf_of_another_silo(score, answers_it):
    """MEM-11: it is a direct probe, and the answer holds the health score of the third silo."""
    mine, _, answers = peers(encode(ProbeReply(TARGET, 9)) if answers_it else SiloUnavailable("down"))
    mine._liveness.score = score
    targets = SystemTargets(lambda _: Level.ADMIN)
    mine.serve(targets)
    answer = await targets.find(PROBE_FOR_SERVICE)(encode(IndirectProbeRequest(TARGET, 1.0)))
    assert decode_probed_for(answer) == IndirectProbeReply(ME, answers_it, score)
    assert [(silo, service) for silo, service, _ in answers.asked] == [(TARGET, PROBE_SERVICE)]


async def test_an_answer_to_a_probe_holds_lag_and_score():
    """The lag raises the score at once, because the blocked loop cannot measure it."""
    time = [0.0]
    liveness = Liveness(lambda: time[0])
    answers = ProbeResponder(ME, liveness)
    liveness.version, liveness.score = 4, 1
    liveness.tick()
    assert decode_reply(answers.answer_probe(encode(Probe(9, TARGET)))) == ProbeReply(ME, 4, 0.0, 1)
    assert liveness.newest == 9
    for time[0], score in ((3.5, 3), (90.0, 8)):
        reply = decode_reply(answers.answer_probe(encode(Probe(9, TARGET, True))))
        assert (reply.lag, reply.score) == (time[0] - TICK, score)
    with pytest.raises(ValueError, match="MessagePack"):
        answers.answer_probe(b"\xc1rubbish")


async def test_the_probe_line_is_asked_where_there_is_one():
    """Decision 4: it answers while an event loop is blocked; a member without a probe port is asked by connection."""
    mine, knowledge, answers = peers(encode(ProbeReply(TARGET, 9)))
    line: list = []

    async def ask_line(member, question, timeout):
        line.append((member.probe, timeout))
        return encode(ProbeReply(TARGET, 9))

    mine._probe_line = ask_line
    for port in (0, 777):
        knowledge.member = lambda silo, port=port: msgspec.structs.replace(member(TARGET), probe=port)
        assert await mine.probe(TARGET, 0.5) is ProbeResult.ANSWERED
    assert line == [(777, 0.5)]
    assert len(answers.asked) == 1


async def test_a_view_is_announced_to_living_silos_and_to_those_that_just_died():
    """Not to the silo itself, not to the long dead; an unreachable silo does not delay the others."""
    was = make_view(1, [member(ME), member(address(1)), member(address(2), LEAVING), member(address(3), DEAD)])
    members = [member(ME), member(address(1), DEAD), member(address(2), LEAVING), member(address(3), DEAD)]
    now = make_view(2, [*members, member(address(4), JOINING)])
    mine, _, answers = peers(SiloUnavailable("down"))
    mine.announce(Announcement("x", now, ROW_FORMAT), was)
    await mine.flush()
    assert {silo for silo, _, _ in answers.asked} == {address(1), address(2), address(4)}
    for _, service, question in answers.asked:
        assert service == VIEW_SERVICE
        assert decode_announcement(question) == Announcement("x", now, ROW_FORMAT)
    await mine.close()


@pytest.mark.parametrize(
    "answer", [b"\xc1", SiloUnavailable("down"), KeyError("a bug over there"), TypeError("new fields")]
)
async def test_exceptions_and_malformed_views_of_a_peer_are_ignored(answer, caplog):
    mine, knowledge, answers = peers(answer)
    await mine.fetch(TARGET)
    assert knowledge.heard == []
    now = make_view(8, (member(TARGET),))
    mine.announce(Announcement("x", now, ROW_FORMAT), now)
    await mine.flush()
    assert [silo for silo, *_ in answers.asked] == [TARGET, TARGET]
    assert not caplog.records
