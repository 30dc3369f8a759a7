"""How a silo answers reads of its view: at once, or when the view is newer than that of the client."""

from __future__ import annotations

import asyncio
import math
from random import Random

import msgspec
import pytest

from grange import Grain
from grange.membership.model.member import View
from grange.proto.management import MOST_WAIT, VIEW, ViewQuestion, encode
from grange.proto.message import Request
from grange.runtime.calls.admission import Admission
from grange.runtime.options import RuntimeOptions
from grange.runtime.system_target import system_id
from grange.silo.view_reads import SHARE, ViewReads
from grange.testing import TestCluster


class Cart(Grain):
    async def touch(self) -> None: ...


def reads_of(cluster: TestCluster) -> ViewReads:
    return cluster.silos[0]._here("").hosting.view_reads


async def read(reads: ViewReads, question: bytes) -> tuple[int, float]:
    """The version of the answer, and the seconds that it took."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    answer = msgspec.msgpack.decode(await reads.answer(question), type=View)
    return answer.version, loop.time() - began


async def test_an_empty_question_and_an_older_version_are_answered_at_once() -> None:
    async with TestCluster([Cart], silos=1) as cluster:
        version = cluster.silos[0].view.version
        for question in (b"", encode(ViewQuestion(version - 1, 30.0))):
            assert await read(reads_of(cluster), question) == (version, 0.0)


async def test_a_read_that_waits_is_answered_with_the_newer_view() -> None:
    async with TestCluster([Cart], silos=1) as cluster:
        silo = cluster.silos[0]
        version = silo.view.version
        waiting = asyncio.create_task(read(reads_of(cluster), encode(ViewQuestion(version, 30.0))))
        await cluster.advance(10)
        assert not waiting.done()
        await cluster.add_silo()
        newer, took = await waiting
        assert newer > version
        assert took < 12


@pytest.mark.parametrize(
    ("asked", "waits"),
    [(3.0, 3.0), (0.0, 0.0), (-1.0, 0.0), (1e9, MOST_WAIT), (math.inf, MOST_WAIT), (math.nan, MOST_WAIT)],
)
async def test_a_read_waits_no_longer_than_asked_nor_than_the_silo_lets_it(asked: float, waits: float) -> None:
    async with TestCluster([Cart], silos=1) as cluster:
        version = cluster.silos[0].view.version
        answer, took = await read(reads_of(cluster), encode(ViewQuestion(version, asked)))
        assert (answer, took) == (version, pytest.approx(waits))
        assert cluster.silos[0].management.state().requests == 0


async def test_a_peer_cannot_fill_the_silo_with_waiting_reads() -> None:
    """Beyond their part of what the silo admits, reads are answered at once."""
    async with TestCluster([Cart], silos=1, runtime={"admission_limit": 10 * SHARE}) as cluster:
        reads, version = reads_of(cluster), cluster.silos[0].view.version
        before = reads.waiting
        question = encode(ViewQuestion(version, 10.0))
        took = sorted([each for _, each in await asyncio.gather(*(read(reads, question) for _ in range(20)))])
        assert took == [0.0] * (10 + before) + [pytest.approx(10.0)] * (10 - before)


async def test_a_first_read_that_waits_keeps_no_room_for_a_large_answer() -> None:
    """A question that a silo has not answered yet may have a large answer, for which others would wait."""
    async with TestCluster([Cart], silos=1) as cluster:
        admission = Admission(RuntimeOptions())
        request = Request(1, system_id(VIEW), "ask", b"")
        assert admission.sizes.expected(request) > 0
        ViewReads(cluster.silos[0]._here("").cluster.agent, admission, Random(0))
        assert admission.sizes.expected(request) == 0


async def test_after_its_end_each_read_is_answered_at_once() -> None:
    async with TestCluster([Cart], silos=1) as cluster:
        reads, version = reads_of(cluster), cluster.silos[0].view.version
        waiting = asyncio.create_task(read(reads, encode(ViewQuestion(version, 10.0))))
        await cluster.advance(1)
        reads.end()
        assert await waiting == (version, 1.0)
        assert await read(reads, encode(ViewQuestion(version, 10.0))) == (version, 0.0)
