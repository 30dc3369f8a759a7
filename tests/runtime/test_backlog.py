"""Requests that come faster than they can start (F27, F28, S7): they wait their turn, fairly, with their deadlines."""

from __future__ import annotations

import asyncio
import gc
import itertools
import math
import weakref
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from grange.grains.context import Scalar
from grange.proto.ids import GrainId
from grange.proto.message import Reason, Rejection, Request, Response
from grange.runtime.activations.catalog import Target
from grange.runtime.calls.admission import Admission, Share, Weighed
from grange.runtime.calls.backlog import (
    BUDGET,
    DROPS,
    EVERY,
    LONG_BUDGET,
    LONG_WAIT,
    MOST_STARTS,
    READ_BUDGET,
    SHORT_START,
    SILENCE,
    Backlog,
)
from grange.runtime.calls.wire_call import WireCall, wire_call
from grange.runtime.options import RuntimeOptions
from grange.testing.loop import VirtualTime

TURN = BUDGET / EVERY
"""Seconds of a turn, if `EVERY` turns use up the budget."""

PASS = 2 * EVERY
"""Requests with such turns that start in a calm iteration: the clock is read first after `EVERY`."""


class Peer:
    """A connection that keeps the answers (`wire_call.Origin`)."""

    payload_limit = 1000
    full = False

    def __init__(self) -> None:
        self.admission = Admission(RuntimeOptions())
        self.share = Share(self.admission)
        self.held: OrderedDict[int, Weighed] = OrderedDict()
        self.spans = None
        self.answers: list[Response | Rejection] = []
        self.when_one_ends: Callable[[], None] = lambda: None

    def answer(self, message: Response | Rejection) -> None:
        self.answers.append(message)

    def fault(self, error: BaseException) -> bytes:
        return b""

    def hold_back(self, call: WireCall) -> bool:
        return False

    def release(self) -> None:
        """Deliver what `when_one_ends` holds, as a connection delivers held requests."""
        self.when_one_ends()

    def call(self, number: int, seconds: float = 60.0) -> WireCall:
        context: dict[str, Scalar] = {}
        request = Request(number, GrainId("cart", "a"), "add", b"")
        return wire_call(self, request, asyncio.get_running_loop().time() + seconds, 1, context)

    def numbers(self) -> list[tuple[int, Any]]:
        return [(answer.id, answer.reason) for answer in self.answers if isinstance(answer, Rejection)]


class Silo:
    """A backlog whose turns take `seconds` of the loop each."""

    def __init__(self, time: VirtualTime) -> None:
        self.time = time
        self.seconds = TURN
        self.started: list[WireCall] = []
        self.backlog = Backlog(self)

    def direct(self) -> Mapping[GrainId, Target]:
        return {}

    def deliver(self, call: WireCall) -> None:
        self.started.append(call)
        self.time._now += self.seconds

    async def iterations(self, count: int) -> None:
        for _ in range(count):
            await asyncio.sleep(0)

    async def starts(self, rounds: int = 1) -> None:
        """Wait for the next starts, this many times; the iterations between them only read."""
        for _ in range(rounds):
            begun = len(self.started)
            for _ in range(2 * SILENCE):
                if len(self.started) == begun:
                    await asyncio.sleep(0)


async def test_requests_pass_at_once_while_there_is_time() -> None:
    with VirtualTime(asyncio.get_running_loop()).installed() as time:
        silo, peer = Silo(time), Peer()
        silo.seconds = 0.0
        for number in range(10 * MOST_STARTS):
            silo.backlog.deliver(peer.call(number))
        assert len(silo.started) == 10 * MOST_STARTS


async def test_starts_take_no_more_than_the_budget_of_an_iteration() -> None:
    with VirtualTime(asyncio.get_running_loop()).installed() as time:
        silo, peer = Silo(time), Peer()
        for number in range(500):
            silo.backlog.deliver(peer.call(number))
        assert len(silo.started) == PASS
        for iteration in range(1, 10):
            await silo.starts()
            assert len(silo.started) == PASS + iteration * EVERY
        assert [call.request.id for call in silo.started] == list(range(PASS + 9 * EVERY))


async def test_short_starts_may_take_a_longer_part_of_an_iteration() -> None:
    """A thousand requests of one frame start whole, so their answers do not leave in small frames."""
    with VirtualTime(asyncio.get_running_loop()).installed() as time:
        silo, peer = Silo(time), Peer()
        silo.seconds = SHORT_START / 2
        whole = int(LONG_BUDGET / silo.seconds)
        for number in range(2 * whole):
            silo.backlog.deliver(peer.call(number))
        assert whole <= len(silo.started) <= whole + PASS
        silo.seconds = 2 * SHORT_START  # and no longer, as soon as they are not short
        begun = len(silo.started)
        await silo.starts()
        assert 0 < len(silo.started) - begun <= BUDGET / silo.seconds + PASS


async def test_the_loop_reads_what_has_come_before_the_next_starts() -> None:
    """Else requests age in the sockets, and a busy silo runs only those whose callers have given up (F27)."""
    with VirtualTime(asyncio.get_running_loop()).installed() as time:
        silo, peer = Silo(time), Peer()
        for number in range(500):
            silo.backlog.deliver(peer.call(number))
        for number in range(1000, 1000 + 10 * SILENCE):  # one frame in three iterations
            await silo.iterations(3)
            silo.backlog.deliver(peer.call(number))
        assert len(silo.started) == PASS


async def test_a_peer_that_sends_without_end_does_not_keep_others_from_starting() -> None:
    with VirtualTime(asyncio.get_running_loop()).installed() as time:
        silo, peer = Silo(time), Peer()
        for number in range(500):
            silo.backlog.deliver(peer.call(number))
        for number in range(1000, 1000 + 4 * 4):
            time._now += READ_BUDGET / 4
            await silo.iterations(1)
            silo.backlog.deliver(peer.call(number))
        assert PASS + 3 * EVERY <= len(silo.started) <= PASS + 4 * EVERY


async def test_requests_that_start_from_their_frame_use_the_budget_too() -> None:
    with VirtualTime(asyncio.get_running_loop()).installed() as time:
        silo, peer = Silo(time), Peer()
        begun = 0
        while room := silo.backlog.room():
            time._now += room * 1.01 * TURN
            silo.backlog.begin(room)
            begun += room
        assert begun == PASS
        silo.backlog.deliver(peer.call(1))
        assert silo.started == []
        await silo.starts()
        assert len(silo.started) == 1
        await silo.iterations(2)
        assert silo.backlog.room() > 0


async def test_waiting_requests_with_short_turns_start_in_portions() -> None:
    with VirtualTime(asyncio.get_running_loop()).installed() as time:
        silo, peer = Silo(time), Peer()
        for number in range(PASS + 2 * MOST_STARTS):
            silo.backlog.deliver(peer.call(number))
        silo.seconds = 0.0
        await silo.starts()
        assert len(silo.started) == PASS + MOST_STARTS
        await silo.iterations(1)
        assert len(silo.started) == PASS + 2 * MOST_STARTS


async def test_connections_take_turns() -> None:
    with VirtualTime(asyncio.get_running_loop()).installed() as time:
        silo, flooding, other = Silo(time), Peer(), Peer()
        for number in range(1000):
            silo.backlog.deliver(flooding.call(number))
        silo.backlog.deliver(other.call(1))
        await silo.starts(2)
        assert any(call.origin is other for call in silo.started)


async def test_requests_start_in_order_while_they_have_time() -> None:
    """Callers that wait for the silo, and have most of their time left, are served in turn: none of them starves."""
    with VirtualTime(asyncio.get_running_loop()).installed() as time:
        silo, peer = Silo(time), Peer()
        silo.seconds = 0.001
        numbers_of_calls = itertools.count()
        for _ in range(2000):
            silo.backlog.deliver(peer.call(next(numbers_of_calls)))
        while len(silo.started) < 4000:
            begun = len(silo.started)
            await silo.iterations(1)
            for _ in silo.started[begun:]:  # its caller makes the next call
                silo.backlog.deliver(peer.call(next(numbers_of_calls)))
        numbers = [call.request.id for call in silo.started]
        assert numbers == list(range(len(numbers)))


async def test_a_queue_that_has_waited_long_serves_the_newest_first_and_refuses_the_oldest() -> None:
    with VirtualTime(asyncio.get_running_loop()).installed() as time:
        silo, peer = Silo(time), Peer()
        for number in range(PASS):
            silo.backlog.deliver(peer.call(number))
        for number in range(1000, 1500):
            silo.backlog.deliver(peer.call(number, seconds=0.3))
        while len(silo.started) < PASS + 150:
            await silo.iterations(1)
        silo.backlog.deliver(peer.call(9999))
        begun = len(silo.started)
        await silo.starts(3)
        assert 9999 in [call.request.id for call in silo.started[begun:]]
        time._now += 0.3
        await silo.iterations(200 * SILENCE)
        refused = peer.numbers()
        assert refused
        assert {reason for _, reason in refused} == {Reason.EXPIRED}
        assert len(silo.started) + len(refused) == PASS + 501


async def test_a_queue_serves_the_newest_first_after_a_long_wait_in_any_case() -> None:
    with VirtualTime(asyncio.get_running_loop()).installed() as time:
        silo, peer = Silo(time), Peer()
        for number in range(500):
            silo.backlog.deliver(peer.call(number, seconds=math.inf))
        time._now += LONG_WAIT + 1
        silo.backlog.deliver(peer.call(9999))
        await silo.starts()
        assert silo.started[PASS].request.id == 9999


async def test_a_request_whose_caller_has_gone_is_refused_at_once_and_never_starts() -> None:
    with VirtualTime(asyncio.get_running_loop()).installed() as time:
        silo, peer = Silo(time), Peer()
        calls = [peer.call(number) for number in range(PASS + 2)]
        for call in calls:
            silo.backlog.deliver(call)
        assert "more requests" in silo.backlog.status(calls[-1])
        calls[-2].abandon()
        assert peer.numbers() == [(PASS, Reason.CANCELLED)]
        await silo.starts()
        assert calls[-1] in silo.started
        assert calls[-2] not in silo.started
        assert peer.numbers() == [(PASS, Reason.CANCELLED)]


async def test_ten_thousand_that_expire_together_are_refused_over_many_iterations() -> None:
    with VirtualTime(asyncio.get_running_loop()).installed() as time:
        silo, peer = Silo(time), Peer()
        count = PASS + 10 * DROPS
        for number in range(count):
            silo.backlog.deliver(peer.call(number, seconds=1.0))
        time._now += 2.0
        before, most = len(silo.started), 0
        while len(peer.answers) + len(silo.started) < count:
            refused = len(peer.answers)
            await silo.iterations(1)
            most = max(most, len(peer.answers) - refused)
        assert most == DROPS
        assert len(silo.started) - before <= count / DROPS


async def test_a_request_that_a_refusal_releases_is_not_lost() -> None:
    with VirtualTime(asyncio.get_running_loop()).installed() as time:
        silo, peer, other = Silo(time), Peer(), Peer()
        for number in range(PASS):
            silo.backlog.deliver(peer.call(number))
        for number, seconds in (1000, 1.0), (1001, 1.0), (1002, 60.0), (1003, 60.0):
            silo.backlog.deliver(peer.call(number, seconds))
        silo.backlog.deliver(other.call(1))
        released = [peer.call(2000)]

        def release() -> None:
            if released:
                silo.backlog.deliver(released.pop())

        peer.held[2000] = Weighed(released[0].request, 0.0, 1, 0, 0)
        peer.when_one_ends = release
        time._now += 2.0
        await silo.iterations(4)
        assert {1, 1002, 1003, 2000} <= {call.request.id for call in silo.started}
        assert [number for number, _ in peer.numbers()] == [1000, 1001]


async def test_requests_whose_callers_have_gone_are_not_kept() -> None:
    with VirtualTime(asyncio.get_running_loop()).installed() as time:
        silo, peer = Silo(time), Peer()
        for number in range(PASS + 1):
            silo.backlog.deliver(peer.call(number))
        call = peer.call(1000)
        silo.backlog.deliver(call)
        gone = weakref.ref(call)
        call.abandon()
        del call
        gc.collect()
        assert gone() is None
