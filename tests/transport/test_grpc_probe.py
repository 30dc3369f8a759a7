"""The probe line between processes: threads answer, for exactly the probed generation of a silo."""

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
    """A silo that answers probes, and the probe line of a prober."""

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


async def test_probes_are_answered_while_the_event_loop_is_blocked(pair: Pair) -> None:
    """F7: both sides share the loop of this test, so a thread probes while the loop is blocked."""
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


async def test_a_probe_of_another_generation_gets_no_answer(pair: Pair) -> None:
    older = SiloAddress("127.0.0.1", 1, 6)
    with pytest.raises(SiloUnavailable, match="not the silo that was probed"):
        await pair.ask(silo=older)
    assert pair.threads == set()


async def test_a_probe_of_another_cluster_gets_no_answer(pair: Pair) -> None:
    stranger = await line("another")
    with pytest.raises(SiloUnavailable, match="not the silo that was probed"):
        await stranger.ask(pair.silo, pair.there.port, b"abc", PATIENCE)
    assert pair.threads == set()
    await stranger.close()


async def test_an_invalid_probe_gets_no_answer(pair: Pair) -> None:
    with pytest.raises(SiloUnavailable, match="no probe"):
        await pair.ask(b"wrong")
    assert await pair.ask() == b"cba"


async def test_a_silo_that_has_not_joined_yet_does_not_answer() -> None:
    there, here = await line(), await line()
    with pytest.raises(SiloUnavailable):
        await here.ask(SiloAddress("127.0.0.1", 1, 7), there.port, b"abc", PATIENCE)
    await asyncio.gather(there.close(), here.close())


async def test_a_closed_port_gives_no_answer(pair: Pair) -> None:
    await pair.ask()
    await pair.there.close()
    with pytest.raises(SiloUnavailable):
        await pair.ask(timeout=2)


async def test_a_returned_silo_answers_the_next_probe(pair: Pair) -> None:
    """Also after gRPC's back-off has grown."""
    port = pair.there.port
    await pair.there.close()
    for _ in range(6):
        with pytest.raises(SiloUnavailable):
            await pair.ask(timeout=1)
    pair.there = await line(port=port)
    pair.there.serve(pair.silo, pair.answer)
    assert await pair.ask() == b"cba"


async def test_a_probe_that_is_too_large_is_refused(pair: Pair) -> None:
    with pytest.raises(SiloUnavailable):
        await pair.ask(bytes(PROBE_LIMIT + 1))
    assert await pair.ask() == b"cba"


async def test_a_silo_can_be_probed_again_after_its_channel_was_closed(pair: Pair) -> None:
    await pair.ask()
    await pair.here.close_channel(pair.silo)
    await pair.here.close_channel(pair.silo)
    assert await pair.ask() == b"cba"


async def test_a_port_in_use_is_named(pair: Pair) -> None:
    with pytest.raises(ConfigurationError, match="the port is in use; choose another port"):
        await line(port=pair.there.port)


async def test_virtual_time_has_no_threads() -> None:
    transport = MemoryTransport(MemoryNetwork())
    assert await transport.probes("127.0.0.1", 0, "default") is None
    await transport.close()


@pytest.mark.parametrize("made", [probe_options, probe_server_options])
def test_a_probe_line_limits_messages_to_the_size_of_a_probe(made) -> None:
    settings = made(TransportOptions())
    assert dict(settings)["grpc.max_receive_message_length"] == PROBE_LIMIT
    assert len(settings) == len(dict(settings))
