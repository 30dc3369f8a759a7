"""The probe line between processes: answered by threads, for exactly the silo that is meant."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator

import grpc
import pytest

from grange.errors import ConfigurationError, SiloUnavailable
from grange.proto.codec import decode_answer, encode_question
from grange.proto.ids import SiloAddress
from grange.transport.grpc import GrpcTransport
from grange.transport.grpc_options import PROBE_LIMIT, probe_options, probe_server_options
from grange.transport.grpc_probe import METHOD
from grange.transport.memory import MemoryTransport
from grange.transport.memory_network import MemoryNetwork
from grange.transport.options import TransportOptions
from grange.transport.provider import ProbeLine

PATIENCE = 20.0


class Pair:
    """A silo that answers probes, and a line to ask it by."""

    def __init__(self, there: ProbeLine, here: ProbeLine) -> None:
        self.there, self.here = there, here
        self.silo = SiloAddress("127.0.0.1", 1, 7)
        self.threads: set[int] = set()
        there.serve(self.silo, self.answer)

    def answer(self, question: bytes) -> bytes:
        self.threads.add(threading.get_ident())
        if question == b"wrong":
            raise ValueError("that is no probe")
        return question[::-1]

    async def ask(self, question: bytes = b"abc", silo: SiloAddress | None = None, timeout: float = PATIENCE) -> bytes:
        return await self.here.ask(silo or self.silo, self.there.port, question, timeout)


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    there, here = await line(), await line()
    yield Pair(there, here)
    await asyncio.gather(there.close(), here.close())


async def line(cluster: str = "default", port: int = 0) -> ProbeLine:
    made = await GrpcTransport().probes("127.0.0.1", port, cluster)
    assert made is not None
    return made


async def test_a_probe_is_answered_by_a_thread(pair: Pair) -> None:
    assert await pair.ask() == b"cba"
    assert threading.get_ident() not in pair.threads


async def test_a_blocked_event_loop_does_not_keep_probes_from_being_answered(pair: Pair) -> None:
    """F7: both sides share this test's loop, so a thread asks, while the loop is blocked."""
    answers: list[bytes] = []

    def ask() -> None:
        with grpc.insecure_channel(f"127.0.0.1:{pair.there.port}") as channel:
            question = encode_question("default", pair.silo, b"abc")
            answers.append(decode_answer(channel.unary_unary(METHOD)(question, timeout=PATIENCE)))

    asking = threading.Thread(target=ask)
    asking.start()
    until = time.monotonic() + PATIENCE
    while not answers and time.monotonic() < until:
        time.sleep(0.01)
    asking.join()
    assert answers == [b"cba"]


async def test_another_generation_is_no_answer(pair: Pair) -> None:
    older = SiloAddress("127.0.0.1", 1, 6)
    with pytest.raises(SiloUnavailable, match="not the silo that was probed"):
        await pair.ask(silo=older)
    assert pair.threads == set()


async def test_another_cluster_is_no_answer(pair: Pair) -> None:
    stranger = await line("another")
    with pytest.raises(SiloUnavailable, match="not the silo that was probed"):
        await stranger.ask(pair.silo, pair.there.port, b"abc", PATIENCE)
    assert pair.threads == set()
    await stranger.close()


async def test_what_is_no_probe_is_no_answer(pair: Pair) -> None:
    with pytest.raises(SiloUnavailable, match="no probe"):
        await pair.ask(b"wrong")
    assert await pair.ask() == b"cba"


async def test_a_silo_that_has_not_joined_yet_does_not_answer() -> None:
    there, here = await line(), await line()
    with pytest.raises(SiloUnavailable):
        await here.ask(SiloAddress("127.0.0.1", 1, 7), there.port, b"abc", PATIENCE)
    await asyncio.gather(there.close(), here.close())


async def test_where_nobody_listens_there_is_no_answer(pair: Pair) -> None:
    await pair.ask()
    await pair.there.close()
    with pytest.raises(SiloUnavailable):
        await pair.ask(timeout=2)


async def test_a_silo_that_is_back_answers_the_very_next_probe(pair: Pair) -> None:
    """Whatever gRPC's back-off has grown to."""
    port = pair.there.port
    await pair.there.close()
    for _ in range(6):
        with pytest.raises(SiloUnavailable):
            await pair.ask(timeout=1)
    pair.there = await line(port=port)
    pair.there.serve(pair.silo, pair.answer)
    assert await pair.ask() == b"cba"


async def test_a_question_that_is_too_big_is_refused(pair: Pair) -> None:
    with pytest.raises(SiloUnavailable):
        await pair.ask(bytes(PROBE_LIMIT + 1))
    assert await pair.ask() == b"cba"


async def test_a_dropped_silo_can_be_asked_again(pair: Pair) -> None:
    await pair.ask()
    await pair.here.close_channel(pair.silo)
    await pair.here.close_channel(pair.silo)
    assert await pair.ask() == b"cba"


async def test_a_port_in_use_is_named(pair: Pair) -> None:
    with pytest.raises(ConfigurationError, match="probe_port"):
        await line(port=pair.there.port)


async def test_virtual_time_has_no_threads() -> None:
    transport = MemoryTransport(MemoryNetwork())
    assert await transport.probes("127.0.0.1", 0, "default") is None
    await transport.close()


@pytest.mark.parametrize("made", [probe_options, probe_server_options])
def test_a_probe_line_takes_probes_and_no_more(made) -> None:
    settings = made(TransportOptions())
    assert dict(settings)["grpc.max_receive_message_length"] == PROBE_LIMIT
    assert len(settings) == len(dict(settings))
