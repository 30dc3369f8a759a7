"""The one retry loop repeats refused calls and never one that may have run. The tests count requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from grange import (
    CallTimeout,
    ConnectionLost,
    Grain,
    InvalidCall,
    NoSuchGrain,
    NoSuchMethod,
    Overloaded,
    PayloadTooLarge,
    SiloUnavailable,
    cancellable,
    one_way,
    request_context,
    response_timeout,
)
from grange.grains.definition import spec_of
from grange.proto.faults import Faults
from grange.proto.ids import GrainId, SiloAddress
from grange.proto.message import Encoding, Reason, Rejection, Request, Response
from grange.runtime.calls.caller import MIN_TIME_LEFT
from grange.runtime.locator import Moved
from tests.runtime.line import Line, Silo
from tests.runtime.process import HERE, Process, settle

Make = Callable[..., Line]


class Cart(Grain):
    async def add(self, number: int = 0) -> int: ...

    @response_timeout(3)
    async def brief(self) -> None: ...

    @one_way
    async def hit(self) -> None: ...


ADD, BRIEF, HIT = (spec_of(Cart).methods[name] for name in ("add", "brief", "hit"))


class Places:
    """A `runtime.locator.Locator` that follows hints, else gives its silos in turn."""

    def __init__(self) -> None:
        self.silos: list[SiloAddress] = []
        self.hint: SiloAddress | None = None
        self.invalidated: list[tuple[SiloAddress, SiloAddress | None, bool]] = []
        self.waited: list[float] = []
        self.error: Exception | None = None

    def known(self, grain_id: GrainId, wanted: int = 0) -> SiloAddress | None:
        return self.hint

    async def locate(self, grain_id: GrainId, context: Any = None, wanted: int = 0) -> SiloAddress:
        if self.error is not None:
            raise self.error
        await asyncio.sleep(0)
        self.silos.append(self.silos.pop(0))
        return self.silos[-1]

    def invalidate(self, grain_id: GrainId, silo: SiloAddress, hint: SiloAddress | None, absent: bool = False) -> None:
        self.invalidated.append((silo, hint, absent))
        self.hint = hint

    def watch(self, moved: Moved) -> None:
        """Do nothing: a caller asks again after each refusal."""

    changes = 0

    async def changed(self, seconds: float) -> None:
        self.waited.append(seconds)
        await asyncio.sleep(seconds)


class Scene:
    """A line, two silos, and a locator that knows both."""

    def __init__(self, here: Line, places: Places, one: Silo, two: Silo) -> None:
        self.here, self.places, self.one, self.two = here, places, one, two
        places.silos = [one.address, two.address]

    @property
    def requests(self) -> int:
        """The number of requests that the silos got."""
        return len(self.one.requests) + len(self.two.requests)


@pytest.fixture
async def scene(line: Make) -> Scene:
    places = Places()
    here = line(locator=places)
    return Scene(here, places, await here.silo(), await here.silo())


def result(value: object) -> Callable[[Silo, Request], Response]:
    return lambda _, asked: Response(asked.id, msgspec.msgpack.encode(value))


def refusal(reason: Reason, hint: SiloAddress | None = None, text: str = "no") -> Callable[[Silo, Request], Rejection]:
    return lambda _, asked: Rejection(asked.id, reason, text, hint)


async def test_a_result_is_decoded_and_one_request_was_made(scene: Scene) -> None:
    scene.one.script = result(7)
    request_context["word"] = "hello"
    assert await scene.here.call(ADD, 3) == 7
    (asked,) = scene.one.requests
    assert msgspec.msgpack.decode(asked.args) == [3]
    assert msgspec.msgpack.decode(asked.context) == {"word": "hello"}
    assert 29_000 < asked.timeout_ms <= 30_000


async def test_a_hint_is_followed_without_delay(scene: Scene) -> None:
    scene.one.script, scene.two.script = refusal(Reason.NOT_HERE, scene.two.address), result(7)
    before = asyncio.get_running_loop().time()
    assert await scene.here.call(ADD) == 7
    assert asyncio.get_running_loop().time() == before
    assert scene.places.invalidated == [(scene.one.address, scene.two.address, False)]
    assert scene.requests == 2


async def test_silos_that_hint_at_each_other_are_not_tried_in_a_tight_loop(scene: Scene) -> None:
    scene.one.script = refusal(Reason.NOT_HERE, scene.two.address)
    scene.two.script = refusal(Reason.NOT_HERE, scene.one.address, "circling")
    before = asyncio.get_running_loop().time()
    with pytest.raises(SiloUnavailable, match=r"cart/a was not executed: refused \d+ times, most recently: "):
        await scene.here.call(ADD)
    assert 30 <= asyncio.get_running_loop().time() - before < 31.5
    assert scene.requests < 80


async def test_refusals_are_repeated_until_a_silo_takes_the_call(scene: Scene) -> None:
    """The first repeat comes at once; then the waits grow, up to one second."""
    answers = [Reason.NOT_READY, Reason.NOT_HERE] * 4

    def refuse_at_first(_: Silo, asked: Request) -> Rejection | Response:
        if answers:
            return Rejection(asked.id, answers.pop())
        return Response(asked.id, msgspec.msgpack.encode(7))

    scene.one.script = scene.two.script = refuse_at_first
    assert await scene.here.call(ADD) == 7
    assert scene.requests == 9
    assert len(scene.places.waited) == 7
    assert scene.places.waited[0] < scene.places.waited[-1] <= 1.0


async def test_after_a_change_of_the_cluster_the_waits_begin_anew(scene: Scene) -> None:
    """A silo that refuses may have the newer view a moment later. A change during an attempt counts, too."""
    refused_at: list[float] = []
    time = asyncio.get_running_loop().time

    def refuse(_: Silo, asked: Request) -> Rejection:
        refused_at.append(time())
        if len(refused_at) == 11:
            scene.places.changes += 1
        return Rejection(asked.id, Reason.NOT_HERE)

    scene.one.script = scene.two.script = refuse
    call = asyncio.create_task(scene.here.call(ADD))
    while len(refused_at) < 15:
        await asyncio.sleep(0.001)
    call.cancel()
    await asyncio.wait([call])
    pauses = [later - earlier for earlier, later in pairwise(refused_at)]
    assert pauses[9] > 0.4
    assert pauses[10] < 0.01
    assert 0.01 < pauses[11] < pauses[12] < 0.05


async def test_a_silo_that_takes_no_calls_is_distinguished_from_a_wrong_place(scene: Scene) -> None:
    """The locator avoids the first for a while, but not the second."""
    scene.one.script, scene.two.script = refusal(Reason.NOT_READY), refusal(Reason.NOT_HERE)
    call = asyncio.create_task(scene.here.call(ADD))
    while len(scene.places.invalidated) < 2:
        await asyncio.sleep(0.01)
    call.cancel()
    await asyncio.wait([call])
    assert [(silo, absent) for silo, _, absent in scene.places.invalidated[:2]] == [
        (scene.one.address, True),
        (scene.two.address, False),
    ]


async def test_the_call_ends_with_its_time_as_not_executed(scene: Scene) -> None:
    scene.one.script = scene.two.script = refusal(Reason.NOT_READY, text="joining")
    before = asyncio.get_running_loop().time()
    with pytest.raises(SiloUnavailable, match=r"refused \d+ times, most recently: joining"):
        await scene.here.call(BRIEF)
    assert 3 - MIN_TIME_LEFT <= asyncio.get_running_loop().time() - before < 4.1


async def test_no_repeat_starts_with_less_than_the_minimum_time_left(scene: Scene) -> None:
    """A timer may fire early. A repeat to a silo that then falls silent would turn "not executed" into "unknown"."""
    loop = asyncio.get_running_loop()
    end = loop.time() + 3

    def refuse_until_the_end(_: Silo, asked: Request) -> Rejection | None:
        return Rejection(asked.id, Reason.NOT_READY, "joining") if end - loop.time() > MIN_TIME_LEFT else None

    async def hardly_changed(seconds: float) -> None:
        await asyncio.sleep(seconds - MIN_TIME_LEFT / 2)

    scene.one.script = scene.two.script = refuse_until_the_end
    scene.places.changed = hardly_changed  # type: ignore[method-assign]
    with pytest.raises(SiloUnavailable, match=r"refused \d+ times, most recently: joining"):
        await scene.here.call(BRIEF)


async def test_a_place_that_cannot_be_found_in_time(scene: Scene) -> None:
    async def never(grain_id: GrainId, context: Any, wanted: int) -> SiloAddress:
        await asyncio.Event().wait()
        raise AssertionError

    scene.places.locate = never  # type: ignore[method-assign]
    with pytest.raises(SiloUnavailable, match="could not be located in time"):
        await scene.here.call(BRIEF)


async def test_an_unreachable_silo_is_left_for_another(scene: Scene) -> None:
    scene.two.script = result(7)
    await scene.one.transport.close()
    assert await scene.here.call(ADD) == 7
    assert scene.places.invalidated == [(scene.one.address, None, True)]


@pytest.mark.parametrize(
    ("reason", "error"),
    [
        (Reason.NO_SUCH_GRAIN, NoSuchGrain),
        (Reason.NO_SUCH_METHOD, NoSuchMethod),
        (Reason.OVERLOADED, Overloaded),
        (Reason.INVALID_CALL, InvalidCall),
        (Reason.PAYLOAD_TOO_LARGE, PayloadTooLarge),
        (Reason.LOST, ConnectionLost),
    ],
)
async def test_what_would_end_the_same_again_is_not_repeated(
    scene: Scene, reason: Reason, error: type[Exception]
) -> None:
    scene.one.script = scene.two.script = refusal(reason)
    with pytest.raises(error):
        await scene.here.call(ADD)
    assert scene.requests == 1


async def test_a_failed_method_is_not_repeated(scene: Scene) -> None:
    """Even if the method raises the same class that a refusal raises."""
    for error in (ValueError("no"), SiloUnavailable("of an inner call")):
        fault = msgspec.msgpack.encode(Faults().dump(error))
        scene.one.script = scene.two.script = lambda _, asked, fault=fault: Response(asked.id, fault, failed=True)
        before = scene.requests
        with pytest.raises(Exception, match=r"no|of an inner call"):
            await scene.here.call(ADD)
        assert scene.requests == before + 1


async def test_a_time_out_is_not_repeated(scene: Scene) -> None:
    with pytest.raises(CallTimeout):
        await scene.here.call(BRIEF)
    await asyncio.sleep(60)
    assert scene.requests == 1


async def test_a_lost_connection_is_not_repeated(scene: Scene) -> None:
    """The silo may have run it, and only the author knows whether a second run does harm."""
    call = asyncio.create_task(scene.here.call(ADD))
    await scene.one.came.wait()
    scene.here.network.kill(scene.one.transport.name)
    with pytest.raises(ConnectionLost):
        await call
    await asyncio.sleep(60)
    assert scene.requests == 1


async def test_a_request_that_never_left_is_repeated_elsewhere(scene: Scene) -> None:
    scene.one.script = scene.two.script = result(7)
    await scene.here.call(ADD)
    await scene.here.call(ADD)  # both are connected
    scene.places.silos = [scene.one.address, scene.two.address]
    call = asyncio.create_task(scene.here.call(ADD))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    connection = scene.here.peers.current(scene.one.address)
    assert connection is not None
    connection.kill(ConnectionError("cut"))
    assert await call == 7
    assert scene.requests == 3
    assert len(scene.two.requests) == 2


async def test_arguments_too_large_never_leave(scene: Scene) -> None:
    class Big(Grain):
        async def put(self, data: bytes) -> None: ...

    with pytest.raises(PayloadTooLarge, match=r"big\.put") as caught:
        await scene.here.call(spec_of(Big).methods["put"], b"x" * (5 * 1024 * 1024))
    assert caught.value.size > caught.value.limit
    assert scene.requests == 0


async def test_wrong_arguments_never_leave(scene: Scene) -> None:
    with pytest.raises(TypeError, match="too many positional"):
        await scene.here.call(ADD, 1, 2)
    with pytest.raises(InvalidCall, match="Expected `int`, got `object`"):
        await scene.here.call(ADD, object())
    assert scene.requests == 0


async def test_a_call_in_json(scene: Scene) -> None:
    scene.one.script = lambda _, asked: Response(asked.id, b"[1]")
    assert await scene.here.caller.call_json(GrainId("cart", "a"), "add", b'{"number": 1}', 5) == b"[1]"
    assert scene.one.requests[0].encoding is Encoding.JSON
    fault = msgspec.msgpack.encode(Faults().dump(ValueError("no")))
    scene.two.script = lambda _, asked: Response(asked.id, fault, failed=True)
    with pytest.raises(ValueError, match="no"):
        await scene.here.caller.call_json(GrainId("cart", "a"), "add", b"[]", 5)


# --- one-way -------------------------------------------------------------------------------------------------------


async def test_a_one_way_call_returns_once_it_is_on_its_way(scene: Scene) -> None:
    """The answer, which only says that a silo accepted it, comes later."""
    await scene.here.call(HIT)
    assert scene.here.peers.current(scene.one.address) is not None
    await settle()
    (asked,) = scene.one.requests
    assert asked.one_way
    assert asked.timeout_ms == 0
    drained = asyncio.create_task(scene.here.caller.drain())
    await settle()
    assert not drained.done()
    scene.one.post(Response(asked.id))
    await drained


async def test_refusals_of_a_one_way_call_are_repeated_in_the_background(scene: Scene) -> None:
    scene.one.script = refusal(Reason.NOT_HERE, scene.two.address)
    scene.two.script = lambda _, asked: Response(asked.id)
    await scene.here.call(HIT)
    await scene.here.caller.drain()
    assert (len(scene.one.requests), len(scene.two.requests)) == (1, 1)


async def test_a_one_way_call_that_fails_after_it_was_handed_over_is_logged(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.one.script = refusal(Reason.NO_SUCH_METHOD, text="never heard of it")
    await scene.here.call(HIT)
    await scene.here.caller.drain()
    assert "one-way call cart/a.hit failed" in caplog.text
    assert "never heard of it" in caplog.text


async def test_a_one_way_call_that_cannot_be_handed_over_raises(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.places.error = NoSuchGrain("no silo hosts it")
    with pytest.raises(NoSuchGrain, match="no silo hosts it"):
        await scene.here.call(HIT)
    assert "one-way" not in caplog.text


async def test_a_cancelled_caller_takes_back_what_was_not_handed_over(scene: Scene) -> None:
    scene.here.network.latency = 5
    call = asyncio.create_task(scene.here.call(HIT))
    await asyncio.sleep(1)
    call.cancel()
    await scene.here.caller.drain()
    assert call.cancelled()
    await asyncio.sleep(60)
    assert scene.requests == 0


async def test_closing_cancels_one_way_calls_that_no_silo_accepted(scene: Scene) -> None:
    await scene.here.call(HIT)
    await scene.here.caller.close()
    await asyncio.wait_for(scene.here.caller.drain(), 1)
    assert not scene.here.caller._tasks


# --- in one process ------------------------------------------------------------------------------------------------


class Busy(Grain):
    def __init__(self) -> None:
        self.runs: list[int] = []
        self.gate = asyncio.Event()

    async def run(self, number: int) -> list[int]:
        self.runs.append(number)
        if number < 0:
            await asyncio.sleep(-number)
        return self.runs

    @one_way
    async def later(self, number: int) -> None:
        self.runs.append(number)
        if number == 13:
            raise LookupError("unlucky")

    @response_timeout(1)
    async def impatient(self, number: int) -> None:
        self.runs.append(number)


async def test_a_local_one_way_call_returns_before_its_turn(
    process: Callable[..., Process], caplog: pytest.LogCaptureFixture
) -> None:
    here = process(Busy)
    grain = here.grains.get_grain(Busy, "a")
    running = asyncio.create_task(grain.run(-5))
    await settle()
    await grain.later(13)
    await grain.later(2)
    assert not running.done()
    await here.caller.drain()
    assert await grain.run(3) == [-5, 13, 2, 3]
    assert "one-way call busy/a.later failed" in caplog.text


async def test_a_local_one_way_call_with_unfit_arguments_raises_and_starts_no_turn(
    process: Callable[..., Process], caplog: pytest.LogCaptureFixture
) -> None:
    """As one to another process, which such a request does not reach."""
    here = process(Busy)
    grain = here.grains.get_grain(Busy, "a")
    for _ in range(2):  # before the grain is active, and after
        with pytest.raises(InvalidCall, match="number"):
            await grain.later("x")  # type: ignore[arg-type]
        await here.caller.drain()
        assert await grain.run(1)
    assert await grain.run(3) == [1, 1, 3]
    assert not caplog.records


async def test_a_local_call_that_expires_in_the_queue_never_runs(process: Callable[..., Process]) -> None:
    here = process(Busy)
    grain = here.grains.get_grain(Busy, "a")
    running = asyncio.create_task(grain.run(-5))
    await settle()
    with pytest.raises(CallTimeout, match="queued at 1 of 1"):
        await grain.impatient(1)
    await running
    assert await grain.run(2) == [-5, 2]


async def test_a_local_call_whose_caller_is_cancelled_never_starts(process: Callable[..., Process]) -> None:
    """A request that waits is dropped. A turn that runs completes, because a half-done turn corrupts the grain."""
    here = process(Busy)
    grain = here.grains.get_grain(Busy, "a")
    running, waiting = asyncio.create_task(grain.run(-5)), asyncio.create_task(grain.run(1))
    await settle()
    running.cancel()
    waiting.cancel()
    await asyncio.wait([running, waiting])
    assert await grain.run(2) == [-5, 2]


class Patient(Grain):
    """Cancels calls, and waits for their ends."""

    async def give_up(self, to: Patient) -> str:
        call = asyncio.create_task(to.go_on())
        await asyncio.sleep(1)
        call.cancel()
        return await call

    @cancellable(wait=True)
    async def go_on(self) -> str:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            await asyncio.sleep(1)
        return "done all the same"


async def test_a_call_that_ends_after_its_cancellation_is_kept_no_longer(process: Callable[..., Process]) -> None:
    here = process(Patient)
    first, second = (here.grains.get_grain(Patient, key) for key in "ab")
    assert await first.give_up(second) == "done all the same"
    assert here.calls.awaited == {}


async def test_a_grain_that_ends_is_found_again_without_delay(process: Callable[..., Process]) -> None:
    class Once(Grain):
        async def run(self) -> str:
            self.deactivate_when_idle()
            return self.activation_id

    here = process(Once)
    grain = here.grains.get_grain(Once, "a")
    before = asyncio.get_running_loop().time()
    assert len({await grain.run() for _ in range(50)}) == 50
    assert asyncio.get_running_loop().time() == before
    calls: list[Any] = [grain.run() for _ in range(20)]
    assert len(set(await asyncio.gather(*calls))) == 20


async def test_a_process_that_takes_no_grains_refuses_until_the_callers_time_is_over(
    process: Callable[..., Process],
) -> None:
    here = process(Busy)
    await here.catalog.drain()
    with pytest.raises(SiloUnavailable, match=f"silo {HERE} takes no new grains"):
        await here.grains.get_grain(Busy, "a").impatient(1)
