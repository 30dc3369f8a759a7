"""What one silo makes of what another says: only a right answer is an answer."""

from __future__ import annotations

import random

import pytest

from grange.errors import CallTimeout, SiloUnavailable
from grange.membership.detector import Finding
from grange.membership.member import SiloStatus, make_view
from grange.membership.messages import VIEW_SERVICE, Announcement, ProbeReply, decode_announcement, encode
from grange.membership.options import MembershipOptions
from grange.membership.peers import Peers
from grange.membership.surroundings import Surroundings
from grange.membership.vitals import Vitals
from tests.membership.cluster import address, member

JOINING, ACTIVE, LEAVING, DEAD = SiloStatus
ME, TARGET = address(0), address(1, generation=5)


class Knowledge:
    """What was learnt from the others."""

    version = 7

    def __init__(self) -> None:
        self.hints: list[int] = []
        self.heard: list[Announcement] = []

    def member(self, silo):
        return None

    def hint(self, version: int) -> None:
        self.hints.append(version)

    def hear(self, announcement: Announcement) -> None:
        self.heard.append(announcement)


class Answers:
    """Answers every question the same way, and keeps who was asked what."""

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
    around = Surroundings(ask=answers, vitals=Vitals(lambda: 0.0), chance=random.Random(1))
    return Peers(ME, around, knowledge, MembershipOptions()), knowledge, answers


async def test_the_silo_that_was_meant_answers():
    """Its version is taken as a hint."""
    mine, knowledge, _ = peers(encode(ProbeReply(TARGET, 9)))
    assert await mine.probe(TARGET, 1.0) is Finding.ANSWERED
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
async def test_anything_else_is_no_answer(answer):
    """Another generation at the same endpoint, rubbish, refusals, and what the other side raised."""
    mine, _, _ = peers(answer)
    assert await mine.probe(TARGET, 1.0) is Finding.MISSED


async def test_a_view_is_told_to_the_living_and_to_who_just_died():
    """Not to oneself, not to the long dead; and whoever cannot be reached stops nobody."""
    was = make_view(1, [member(ME), member(address(1)), member(address(2), LEAVING), member(address(3), DEAD)])
    members = [member(ME), member(address(1), DEAD), member(address(2), LEAVING), member(address(3), DEAD)]
    now = make_view(2, [*members, member(address(4), JOINING)])
    mine, _, answers = peers(SiloUnavailable("down"))
    mine.spread(Announcement("x", now), was)
    await mine.flush()
    assert {silo for silo, _, _ in answers.asked} == {address(1), address(2), address(4)}
    for _, service, question in answers.asked:
        assert service == VIEW_SERVICE
        assert decode_announcement(question) == Announcement("x", now)
    await mine.close()
