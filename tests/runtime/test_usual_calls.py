"""The usual call takes the short way: a known, open link with room. What is rare continues in the retry loop."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from grange import (
    CallerClosed,
    CallTimeout,
    ConnectionLost,
    Grain,
    InvalidCall,
    PayloadTooLarge,
    RemoteError,
    SiloUnavailable,
    request_context,
    response_timeout,
)
from grange.aio.portions import PORTION
from grange.grains.definition import spec_of
from grange.proto.faults import Faults
from grange.proto.ids import GrainId, SiloAddress
from grange.proto.message import GOODBYE, Reason, Rejection, Request, Response
from grange.runtime.calls import caller
from grange.runtime.locator import Moved
from grange.testing.loop import VirtualTime
from tests.runtime.line import Line, Script, Silo
from tests.runtime.process import settle

Make = Callable[..., Line]


class Cart(Grain):
    async def add(self, number: int = 0) -> int: ...

    @response_timeout(3)
    async def brief(self) -> int: ...

    async def name(self, text: str) -> int: ...


ADD, BRIEF, NAME = (spec_of(Cart).methods[name] for name in ("add", "brief", "name"))
ANN, BOB = GrainId("cart", "ann"), GrainId("cart", "bob")


class Map:
    """A `runtime.locator.Locator` that knows one silo for all grains, and counts how often it is asked."""

    def __init__(self) -> None:
        self.silo: SiloAddress | None = None
        self.asked: list[GrainId] = []
        self.moved: Moved = lambda grain_id: None
        self.waited: list[float] = []

    def known(self, grain_id: GrainId, wanted: int = 0) -> SiloAddress | None:
        self.asked.append(grain_id)
        return self.silo

    async def locate(self, grain_id: GrainId, context: Any = None, wanted: int = 0) -> SiloAddress:
        raise AssertionError("every grain is known")

    def invalidate(self, grain_id: GrainId, silo: SiloAddress, hint: SiloAddress | None, absent: bool = False) -> None:
        self.silo = hint or self.silo

    changes = 0

    async def changed(self, seconds: float) -> None:
        self.waited.append(seconds)
        await asyncio.sleep(seconds)

    def watch(self, moved: Moved) -> None:
        self.moved = moved


class Scene:
    """A line and two silos that answer with their number; the first is the known one."""

    def __init__(self, here: Line, places: Map, one: Silo, two: Silo) -> None:
        self.here, self.places, self.one, self.two = here, places, one, two
        places.silo = one.address
        one.script, two.script = result(1), result(2)

    async def add(self, grain_id: GrainId = ANN, *args: object) -> object:
        return await self.here.caller.call(grain_id, ADD, args, {})


@pytest.fixture
async def scene(line: Make) -> Scene:
    """A scene whose client is connected to both silos."""
    places = Map()
    here = line(locator=places)
    scene = Scene(here, places, await here.silo(), await here.silo())
    places.silo = scene.two.address
    assert await scene.add() == 2
    places.silo = scene.one.address
    assert await scene.add(BOB) == 1
    places.moved(None)
    places.asked.clear()
    for silo in (scene.one, scene.two):
        silo.requests.clear()
        silo.came.clear()
    return scene


def result(value: object) -> Script:
    return lambda _, asked: Response(asked.id, msgspec.msgpack.encode(value))


def silent(_: Silo, asked: Request) -> None:
    """Give no answer."""


async def test_a_link_is_found_once_and_used_until_its_grain_moves(scene: Scene) -> None:
    assert [await scene.add(ANN) for _ in range(3)] == [1] * 3
    assert await scene.add(BOB) == 1
    assert scene.places.asked == [ANN, BOB]
    scene.places.silo = scene.two.address
    scene.places.moved(ANN)
    assert (await scene.add(ANN), await scene.add(BOB)) == (2, 1)
    scene.places.moved(None)
    assert (await scene.add(ANN), await scene.add(BOB)) == (2, 2)


async def test_only_so_many_links_are_remembered(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caller, "MOST_LINKS", 10)
    for number in range(100):
        await scene.add(GrainId("cart", str(number)))
        assert len(scene.here.caller._links) <= 10


async def test_a_refusal_is_followed_with_the_same_deadline(scene: Scene) -> None:
    """One refusal with a hint: the second attempt comes at once, with the time that is left."""

    def refuse_later(_: Silo, asked: Request) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(2, scene.one.post, Rejection(asked.id, Reason.NOT_HERE, "moved", scene.two.address))

    scene.one.script = refuse_later
    before = asyncio.get_running_loop().time()
    assert await scene.add() == 2
    assert asyncio.get_running_loop().time() == before + 2
    assert scene.one.requests[0].timeout_ms == 30_000
    assert 27_999 <= scene.two.requests[0].timeout_ms <= 28_000
    assert await scene.add() == 2
    assert len(scene.one.requests) == 1, "the hint is honoured at once by the next call"


async def test_a_refusal_counts_as_the_first(scene: Scene) -> None:
    """No wait follows a first refusal, and one follows the second."""
    scene.one.script = lambda silo, asked: (
        result(1)(silo, asked) if len(silo.requests) == 3 else Rejection(asked.id, Reason.NOT_READY, "joining")
    )
    assert await scene.add() == 1
    assert len(scene.places.waited) == 1


async def test_a_failed_method_is_not_a_refusal(scene: Scene) -> None:
    fault = msgspec.msgpack.encode(Faults().dump(SiloUnavailable("of an inner call")))
    scene.one.script = lambda _, asked: Response(asked.id, fault, failed=True)
    with pytest.raises(RemoteError, match="of an inner call"):
        await scene.add()
    assert len(scene.one.requests) == 1


async def test_after_a_goodbye_calls_go_elsewhere_and_answers_still_come(scene: Scene) -> None:
    """The last two answers come in one batch: the connection closes only after both."""
    scene.one.script = silent
    calls = [asyncio.create_task(scene.add()) for _ in range(2)]
    await settle()
    scene.one.post(GOODBYE)
    await settle()
    scene.places.silo = scene.two.address
    assert await scene.add() == 2, "the link is not used after the goodbye, although no grain has moved"
    assert len(scene.one.requests) == 2
    for asked in scene.one.requests:
        scene.one.post(Response(asked.id, msgspec.msgpack.encode(1)))
    assert [await call for call in calls] == [1, 1]
    await settle()
    assert scene.one.connection is not None
    assert scene.one.connection.closed


async def test_calls_that_wait_at_the_goodbye_end_as_others_do(scene: Scene) -> None:
    """By their answer, their time-out or their cancellation; the connection is closed after the last of them."""
    scene.one.script = silent
    brief, missed, cancelled = (
        asyncio.create_task(scene.here.caller.call(ANN, method, (), {})) for method in (BRIEF, BRIEF, ADD)
    )
    await settle()
    scene.one.post(GOODBYE)
    await settle()
    assert scene.one.connection is not None
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert not scene.one.connection.closed, "two calls with a time-out of their own wait still"
    scene.one.post(Response(scene.one.requests[0].id, msgspec.msgpack.encode(1)))
    assert await brief == 1
    with pytest.raises(CallTimeout):
        await missed
    await settle()
    assert scene.one.connection.closed
    asked = [each.id for each in scene.one.requests]
    assert scene.one.cancelled == [asked[2], asked[1]]


async def test_a_call_is_cancelled_while_its_connection_closes(scene: Scene) -> None:
    """A Cancel could not be sent any more, which is no error of the call."""
    scene.one.script = silent
    cancelled, missed = asyncio.create_task(scene.add()), asyncio.create_task(scene.add())
    await settle()
    connection = scene.here.peers.current(scene.one.address)
    assert connection is not None
    closing = asyncio.create_task(connection.close())
    await asyncio.sleep(0)
    assert connection.closed
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    with pytest.raises(ConnectionLost):
        await missed
    await closing
    assert scene.one.cancelled == []


async def test_a_request_that_is_too_large_waits_for_no_answer(scene: Scene) -> None:
    """Or the goodbye of its silo would wait for it."""
    with pytest.raises(PayloadTooLarge):
        await scene.here.caller.call(ANN, NAME, ("x" * 5_000_000,), {})
    assert await scene.add() == 1
    scene.one.post(GOODBYE)
    await settle()
    assert scene.one.connection is not None
    assert scene.one.connection.closed


async def test_a_broken_link_is_replaced(scene: Scene) -> None:
    assert await scene.add() == 1
    connection = scene.here.peers.current(scene.one.address)
    assert connection is not None
    connection.kill(ConnectionError("cut"))
    assert await scene.add() == 1
    before = len(scene.places.asked)
    assert await scene.add() == 1
    assert await scene.add() == 1
    assert len(scene.places.asked) == before + 1, "the new link is remembered"


async def test_a_full_connection_makes_the_call_wait(line: Make) -> None:
    places = Map()
    here = line(locator=places, queue_messages=2)
    scene = Scene(here, places, await here.silo(), await here.silo())
    await scene.add()
    here.network.partition("client", scene.one.transport.name)
    connection = here.peers.current(scene.one.address)
    assert connection is not None
    calls = [asyncio.create_task(scene.add()) for _ in range(2)]
    await settle()
    assert connection.full
    queued = connection.unwritten
    calls += [asyncio.create_task(scene.add()) for _ in range(3)]
    await settle()
    assert connection.unwritten == queued, "the others wait outside of the queue"
    here.network.heal()
    assert [await call for call in calls] == [1] * 5
    assert len(scene.one.requests) == 6


async def test_a_call_is_a_coroutine_and_carries_the_request_context(scene: Scene) -> None:
    call = scene.add(ANN, 5)
    assert inspect.iscoroutine(call)
    assert await asyncio.create_task(call) == 1
    assert scene.one.requests[0].context == b""
    request_context["word"] = "hello"
    await scene.add(ANN, 5)
    assert msgspec.msgpack.decode(scene.one.requests[1].context) == {"word": "hello"}
    assert msgspec.msgpack.decode(scene.one.requests[1].args) == [5]


async def test_arguments_by_name_and_wrong_ones(scene: Scene) -> None:
    assert await scene.here.caller.call(ANN, ADD, (), {"number": 7}) == 1
    assert msgspec.msgpack.decode(scene.one.requests[0].args) == [7]
    with pytest.raises(InvalidCall, match="too many positional"):
        await scene.add(ANN, 1, 2)
    with pytest.raises(InvalidCall, match="Expected `int`, got `object`"):
        await scene.add(ANN, object())
    assert len(scene.one.requests) == 1


async def test_no_call_leaves_after_the_end_of_its_client(scene: Scene) -> None:
    """Not even those that wait because so many have begun in one iteration of the loop."""
    scene.one.script = silent
    many = 2 * caller.BEGUN_AT_ONCE
    calls = [asyncio.create_task(scene.add()) for _ in range(many)]
    await asyncio.sleep(0)
    scene.here.caller.end()
    scene.here.sender.abandon("closed")
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    await settle()
    assert {type(outcome) for outcome in outcomes} == {CallerClosed, ConnectionLost}
    assert len(scene.one.requests) == sum(isinstance(outcome, ConnectionLost) for outcome in outcomes) < many


async def test_a_cancelled_caller_cancels_its_request(scene: Scene) -> None:
    scene.one.script = silent
    call = asyncio.create_task(scene.add())
    await scene.one.came.wait()
    call.cancel()
    await settle()
    assert call.cancelled()
    assert scene.one.cancelled == [scene.one.requests[0].id]


async def test_a_caller_that_is_cancelled_after_its_answer_came_cancels_nothing(scene: Scene) -> None:
    scene.one.script = silent
    call = asyncio.create_task(scene.add())
    await scene.one.came.wait()
    link = scene.here.sender.link(scene.one.address)
    assert link is not None
    link.receive([Response(scene.one.requests[0].id, msgspec.msgpack.encode(1))])
    call.cancel()
    await settle()
    assert call.cancelled()
    assert scene.one.cancelled == []


async def test_usual_and_other_time_outs_end_in_time(scene: Scene) -> None:
    scene.one.script = silent
    loop = asyncio.get_running_loop()
    before = loop.time()
    ended: list[float] = []

    async def call(brief: bool) -> None:
        with pytest.raises(CallTimeout, match="status unknown"):
            await scene.here.caller.call(ANN, BRIEF if brief else ADD, (), {})
        ended.append(loop.time() - before)

    await asyncio.gather(*(call(number % 2 == 0) for number in range(4)))
    assert [round(seconds, 1) for seconds in ended] == [3, 3, 30, 30]
    assert sorted(each.timeout_ms for each in scene.one.requests) == [3_000] * 2 + [30_000] * 2
    await settle()
    assert len(scene.one.cancelled) == 4


async def test_usual_calls_share_one_timer_that_ends_with_the_link(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    handles: list[asyncio.TimerHandle] = []
    real = loop.call_at

    def counting(*args: object, **kwargs: object) -> asyncio.TimerHandle:
        handles.append(real(*args, **kwargs))  # type: ignore[arg-type]
        return handles[-1]

    await asyncio.sleep(60)  # until the timer of the fixture's calls has ended
    monkeypatch.setattr(loop, "call_at", counting)
    for _ in range(3):
        await asyncio.gather(*(scene.add() for _ in range(100)))
    assert len(handles) == 1
    link = scene.here.sender.link(scene.one.address)
    assert link is not None
    link.connection.kill()
    assert handles[0].cancelled()


async def test_an_answer_that_came_while_the_process_was_stopped_is_taken(scene: Scene, time: VirtualTime) -> None:
    """F4: the timer of a link sees the stop, as other deadlines do."""
    scene.one.script = silent
    answered, missed = asyncio.create_task(scene.add()), asyncio.create_task(scene.add())
    await asyncio.sleep(20)
    time._now += 15  # the process is stopped
    await asyncio.sleep(0.1)
    assert not answered.done()
    scene.one.post(Response(scene.one.requests[0].id, msgspec.msgpack.encode(1)))
    assert await answered == 1
    with pytest.raises(CallTimeout):
        await missed


async def test_thousands_of_calls_expire_in_order_and_in_portions(scene: Scene) -> None:
    ended = await ends_of_many(scene, CallTimeout, lambda: None)
    assert ended == list(range(len(ended)))


async def test_thousands_of_calls_are_abandoned_in_order_and_in_portions(scene: Scene) -> None:
    ended = await ends_of_many(scene, ConnectionLost, lambda: scene.here.sender.abandon("closed"))
    assert ended == list(range(len(ended)))


async def ends_of_many(
    scene: Scene, expected: type[Exception], act: Callable[[], None], many: int = 4_000
) -> list[int]:
    """Make many calls without an answer, act, and return them in the order of their ends, which came in portions."""
    scene.one.script = silent
    loop = asyncio.get_running_loop()
    ended: list[int] = []
    at_once = [0]

    async def call(number: int) -> None:
        with pytest.raises(expected):
            await scene.add()
        ended.append(number)
        if not at_once[-1]:
            loop.call_soon(at_once.append, 0)  # the next iteration
        at_once[-1] += 1

    async with asyncio.TaskGroup() as group:
        for number in range(many):
            group.create_task(call(number))
        await asyncio.sleep(1)
        act()
    assert max(at_once) <= 2 * PORTION
    return ended
