"""A firewall refuses in one direction, a middlebox resets. A dead process refuses, a paused or cut-off one does not."""

from __future__ import annotations

import asyncio

import pytest

from grange.errors import ConnectionLost
from grange.testing.simulation.network import KEEPALIVE_TIME, KEEPALIVE_TIMEOUT
from tests.simulation.pair import Pair, with_pair


def test_what_is_sent_over_a_rejected_line_is_lost_and_resets_its_sender() -> None:
    async def test(pair: Pair) -> None:
        pair.network.reject(pair.a, pair.b)
        pair.post(1)
        await asyncio.sleep(0.02)
        assert isinstance(pair.at_a.error, ConnectionLost)
        assert (pair.at_b.received, pair.at_a.unsent) == ([], []), "it was sent: its fate is unknown"

    with_pair(test)


def test_the_other_direction_passes_once_and_its_acknowledgement_is_rejected() -> None:
    async def test(pair: Pair) -> None:
        pair.network.reject(pair.a, pair.b)
        pair.post_back(7)
        await asyncio.sleep(0.02)
        assert pair.at_a.received == [7]
        assert isinstance(pair.at_a.error, ConnectionLost)

    with_pair(test)


@pytest.mark.parametrize("seed", range(5))
def test_an_idle_end_is_reset_by_its_keepalive_and_the_far_end_hears_nothing_until_it_times_out(seed: int) -> None:
    async def test(pair: Pair) -> None:
        began = pair.loop.time()
        pair.network.reject(pair.a, pair.b)
        await asyncio.sleep(KEEPALIVE_TIMEOUT - 0.1)
        assert pair.at_a.lost_at is not None
        assert pair.at_a.lost_at < began + KEEPALIVE_TIME + 0.02
        assert pair.at_b.lost_at is None
        await asyncio.sleep(1.2)
        assert pair.at_b.lost_at is not None

    with_pair(test, seed)


def test_the_far_end_notices_when_it_sends_after_the_firewall_has_gone() -> None:
    async def test(pair: Pair) -> None:
        pair.network.reject(pair.a, pair.b)
        pair.post(1)
        await asyncio.sleep(0.1)
        pair.post_back(2)
        await asyncio.sleep(0.1)
        assert pair.at_b.lost_at is None, "the reset of a is rejected, too"
        pair.network.heal()
        pair.post_back(3)
        await asyncio.sleep(0.02)
        assert isinstance(pair.at_b.error, ConnectionLost)
        assert pair.at_a.received == []

    with_pair(test)


@pytest.mark.parametrize("is_killed", [True, False])
def test_an_idle_far_end_notices_by_its_keepalive_after_the_firewall_has_gone(is_killed: bool) -> None:
    async def test(pair: Pair) -> None:
        pair.network.reject(pair.b, pair.a)
        if is_killed:
            pair.end_of_b()
        else:
            pair.post_back(1)
        await asyncio.sleep(0.1)
        assert pair.at_a.lost_at is None
        pair.network.heal()
        await asyncio.sleep(KEEPALIVE_TIME + 0.02)
        assert isinstance(pair.at_a.error, ConnectionLost)

    with_pair(test)


def test_new_connections_are_refused_at_once_until_the_line_is_healed() -> None:
    async def test(pair: Pair) -> None:
        pair.network.reject(pair.a, pair.b)
        refused, took = await pair.refuses()
        assert refused
        assert took < 0.02
        connected, took = await pair.connects()
        assert not connected
        assert took < 0.02
        pair.network.heal()
        assert (await pair.refuses())[0] is False
        assert (await pair.connects())[0]

    with_pair(test)


def test_connections_opened_by_the_rejected_answers_side_time_out() -> None:
    """The firewall rejects the answers of `b`, so `a` hears nothing, also about a dead process."""

    async def test(pair: Pair) -> None:
        pair.network.reject(pair.b, pair.a)
        refused, took = await pair.refuses(timeout=0.5)
        assert (refused, took >= 0.5) == (False, True)
        connected, took = await pair.connects()
        assert (connected, took >= 2.0) == (False, True)
        pair.end_of_b()
        assert (await pair.refuses())[0] is False

    with_pair(test)


def test_a_reset_ends_both_ends_of_one_connection_and_loses_what_was_under_way() -> None:
    async def test(pair: Pair) -> None:
        (connection,) = pair.network.connections()
        pair.post(1)
        await asyncio.sleep(0)
        connection.reset_both()
        await asyncio.sleep(0.02)
        assert isinstance(pair.at_a.error, ConnectionLost)
        assert isinstance(pair.at_b.error, ConnectionLost)
        assert pair.at_b.received == []
        assert pair.network.connections() == []
        assert (await pair.refuses())[0] is False, "the line is sound"
        assert (await pair.connects())[0]

    with_pair(test)


def test_a_reset_that_cannot_come_is_noticed_when_the_line_is_repaired() -> None:
    async def test(pair: Pair) -> None:
        (connection,) = pair.network.connections()
        pair.network.cut(pair.b, pair.a)
        connection.reset_both()
        await asyncio.sleep(0.1)
        assert pair.at_a.lost_at is None
        assert pair.at_b.lost_at is not None
        pair.network.heal()
        await asyncio.sleep(KEEPALIVE_TIME + 0.02)
        assert pair.at_a.lost_at is not None

    with_pair(test)


def test_the_machine_of_a_dead_process_refuses() -> None:
    async def test(pair: Pair) -> None:
        pair.end_of_b()
        refused, took = await pair.refuses()
        assert refused
        assert took < 0.02
        assert (await pair.refuses(port=2))[0], "no process ever listened there"

    with_pair(test)


@pytest.mark.parametrize("is_to_b", [True, False])
def test_a_dead_process_that_is_cut_off_is_silent_and_its_peers_are_not_told(is_to_b: bool) -> None:
    async def test(pair: Pair) -> None:
        pair.network.cut(*((pair.a, pair.b) if is_to_b else (pair.b, pair.a)))
        pair.end_of_b()
        refused, took = await pair.refuses(timeout=0.5)
        assert (refused, took >= 0.5) == (False, True)
        connected, took = await pair.connects()
        assert (connected, took >= 2.0) == (False, True)
        assert (pair.at_a.lost_at is not None) == is_to_b
        pair.network.heal()
        assert (await pair.refuses())[0]
        await asyncio.sleep(KEEPALIVE_TIME + 0.02)
        assert isinstance(pair.at_a.error, ConnectionLost)

    with_pair(test)


def test_the_machine_of_a_paused_process_accepts_at_once() -> None:
    async def test(pair: Pair) -> None:
        pair.loop.pause(pair.b)
        refused, took = await pair.refuses()
        assert not refused
        assert took < 0.02
        assert not (await pair.connects())[0], "but the process does not answer"

    with_pair(test)


def test_a_refusal_that_comes_after_the_time_out_says_nothing() -> None:
    async def test(pair: Pair) -> None:
        pair.end_of_b()
        pair.network.latency = 0.3
        refused, took = await pair.refuses(timeout=0.5)
        assert not refused
        assert 0.5 <= took < 0.51

    with_pair(test)


def test_a_fault_of_the_network_outlives_a_process() -> None:
    """A line joins two machines: the processes of one are named PLACE#NUMBER."""

    async def test(pair: Pair) -> None:
        pair.network.reject(pair.a, pair.b)
        pair.a = type(pair.a)("a#2")
        assert (await pair.refuses())[0]

    with_pair(test)
