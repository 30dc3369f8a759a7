"""Streams stay ordered, cuts hold messages, and each end of a connection learns only what could have reached it."""

from __future__ import annotations

import asyncio

from grange.errors import ConnectionLost, SiloUnavailable
from grange.proto.ids import GrainId
from grange.proto.message import Message, Request
from grange.testing.simulation.network import KEEPALIVE_TIMEOUT
from grange.testing.simulation.transport import SimulatedTransport
from tests.simulation.pair import HELLO, Pair, RecordingReceiver, with_pair


def test_a_stream_keeps_its_order_under_any_delays() -> None:
    async def test(pair: Pair) -> None:
        pair.network.jitter = 0.5
        for number in range(100):
            pair.post(number)
            await asyncio.sleep(0.01)
        await asyncio.sleep(2)
        assert pair.at_b.received == list(range(100))
        assert pair.at_b.processes == {"b"}, "in the receiver's process"

    with_pair(test)


def test_a_connection_that_ends_in_its_receiver_delivers_no_more_of_the_frame() -> None:
    """`lost` is the last call of a receiver."""

    async def test(pair: Pair) -> None:
        def kill_at_two(message: Message) -> None:
            if message.id == 2:
                pair.far.kill()

        pair.at_b.on_message = kill_at_two
        pair.post(1, 2, 3)
        await asyncio.sleep(0.1)
        assert pair.at_b.received == [1, 2]
        assert pair.at_b.lost_at is not None

    with_pair(test)


def test_a_paused_side_reads_on_when_it_resumes() -> None:
    async def test(pair: Pair) -> None:
        for number in range(3):
            with pair.loop.within(pair.b):
                pair.far.pause()
            await asyncio.sleep(0.1)
            pair.post(number)
            await asyncio.sleep(1)
            assert pair.at_b.received == list(range(number))
            with pair.loop.within(pair.b):
                pair.far.resume()
            await asyncio.sleep(0.1)
            assert pair.at_b.received == list(range(number + 1))

    with_pair(test)


def test_a_cut_holds_one_direction_and_healing_delivers_in_order() -> None:
    async def test(pair: Pair) -> None:
        pair.post(1)
        pair.network.cut(pair.a, pair.b)
        pair.post(2, 3)
        with pair.loop.within(pair.b):
            pair.far.post(Request(9, GrainId("cart", "ann"), "ask", b""))
        await asyncio.sleep(KEEPALIVE_TIMEOUT / 2)
        assert (pair.at_b.received, pair.at_a.received) == ([], [9])
        pair.post(4)
        pair.network.heal()
        await asyncio.sleep(0.1)
        assert pair.at_b.received == [1, 2, 3, 4]

    with_pair(test)


def test_each_end_of_a_cut_connection_times_out_by_itself() -> None:
    async def test(pair: Pair) -> None:
        cut_at = pair.loop.time()
        pair.network.cut(pair.a, pair.b)
        pair.post(1)
        await asyncio.sleep(KEEPALIVE_TIMEOUT + 2)
        assert pair.at_a.lost_at is not None
        assert pair.at_b.lost_at is not None
        assert pair.at_a.lost_at != pair.at_b.lost_at
        assert min(pair.at_a.lost_at, pair.at_b.lost_at) >= cut_at + KEEPALIVE_TIMEOUT
        assert isinstance(pair.at_a.error, ConnectionLost)
        pair.network.heal()
        await asyncio.sleep(1)
        assert pair.at_b.received == [], "messages in flight are lost with the connection"

    with_pair(test)


def test_a_reset_does_not_cross_a_cut() -> None:
    async def test(pair: Pair) -> None:
        pair.network.cut(pair.a, pair.b)
        pair.near.kill(ConnectionLost("mine"))
        assert pair.at_a.lost_at is not None
        await asyncio.sleep(KEEPALIVE_TIMEOUT / 2)
        assert pair.at_b.lost_at is None, "the other end cannot know"
        pair.network.heal()
        await asyncio.sleep(0.1)
        assert isinstance(pair.at_b.error, ConnectionLost)

    with_pair(test)


def test_the_peer_of_a_paused_process_times_out_and_the_process_learns_it_on_resume() -> None:
    async def test(pair: Pair) -> None:
        pair.loop.pause(pair.b)
        pair.network.on_paused(pair.b)
        pair.post(1)
        await asyncio.sleep(KEEPALIVE_TIMEOUT + 2)
        assert pair.at_a.lost_at is not None
        assert pair.at_b.lost_at is None
        assert pair.at_b.received == []
        pair.loop.resume(pair.b)
        await asyncio.sleep(0.1)
        assert pair.at_b.lost_at is not None

    with_pair(test)


def test_the_death_of_a_process_reaches_its_peers() -> None:
    async def test(pair: Pair) -> None:
        pair.b.alive = False
        pair.network.on_process_end(pair.b)
        await asyncio.sleep(0.1)
        assert isinstance(pair.at_a.error, ConnectionLost)
        try:
            await SimulatedTransport(pair.network, pair.a).connect("h", 1, HELLO, RecordingReceiver(pair.loop))
        except SiloUnavailable as error:
            assert "no process listens" in str(error)  # noqa: PT017
        else:
            raise AssertionError("a dead process accepted a connection")

    with_pair(test)


def test_connecting_over_a_cut_takes_the_whole_time_out() -> None:
    async def test(pair: Pair) -> None:
        pair.network.cut(pair.b, pair.a)
        began = pair.loop.time()
        try:
            await SimulatedTransport(pair.network, pair.a).connect("h", 1, HELLO, RecordingReceiver(pair.loop))
        except SiloUnavailable:
            assert pair.loop.time() - began >= 2.0
        else:
            raise AssertionError("a connection crossed a cut")

    with_pair(test)


def test_closing_sends_the_queue_and_ends_both_sides_in_order() -> None:
    async def test(pair: Pair) -> None:
        pair.post(1, 2, 3)
        with pair.loop.within(pair.a):
            await pair.near.close()
        await asyncio.sleep(0.1)
        assert pair.at_b.received == [1, 2, 3]
        assert pair.at_a.lost_at is not None
        assert pair.at_b.lost_at is not None
        assert (pair.at_a.error, pair.at_b.error, pair.at_a.unsent) == (None, None, [])

    with_pair(test)


def test_only_requests_to_system_services_are_repeated_and_any_message_may_be_lost() -> None:
    async def test(pair: Pair) -> None:
        line = pair.network.line(pair.a, pair.b)
        line.repeat = 1.0
        pair.post(1, 2)
        pair.post(3, 4, system=True)
        await asyncio.sleep(0.1)
        assert pair.at_b.received == [1, 2, 3, 3, 4, 4]
        line.repeat, line.loss = 0.0, 1.0
        pair.post(5)
        await asyncio.sleep(0.1)
        assert pair.at_b.received == [1, 2, 3, 3, 4, 4]

    with_pair(test)
