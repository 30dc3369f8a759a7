"""One timer, without an activation: when it ticks, that ticks never overlap, and that it ends."""

from __future__ import annotations

import asyncio
import functools
from datetime import timedelta
from typing import Any

import pytest

from grange import Grain
from grange.aio.loop_binding import LoopBinding
from grange.grains.definition import spec_of
from grange.grains.options import MAX_SECONDS
from grange.grains.ref import reference_class
from grange.proto.message import Reason
from grange.runtime.activations.timers import GrainTimer
from grange.runtime.requests.invocation import Invocation
from grange.runtime.requests.refusal import Refused
from grange.testing.loop import VirtualTime
from tests.runtime.process import grain_id


class Pinged(Grain):
    async def ping(self) -> None: ...


class Host:
    """The parts of a silo that a timer needs."""

    def __init__(self) -> None:
        self.binding = LoopBinding("this silo")
        self.spans = None


class Box:
    """Takes ticks as an activation does. The test runs them with `serve`."""

    def __init__(self, serve_at_once: bool = True) -> None:
        self.ticks: list[Invocation] = []
        self.times: list[float] = []
        self.serve_at_once = serve_at_once
        self.tasks: list[asyncio.Task[None]] = []
        self.seconds = 0.0
        self.error: Exception | None = None

    def timer(self, **options: bool) -> GrainTimer:
        return GrainTimer(
            grain_id("clock"), self.tick, self.deliver,
            options.get("interleave", False), options.get("keep_alive", False), Host(),
        )  # fmt: skip

    def deliver(self, tick: Invocation) -> None:
        self.ticks.append(tick)
        if self.serve_at_once:
            self.tasks.append(asyncio.create_task(self.serve(tick)))

    async def serve(self, tick: Invocation) -> None:
        try:
            await tick.invoke(None, None)
        except Exception as error:
            tick.fail(error)
        else:
            tick.succeed(None, None)

    async def tick(self) -> None:
        self.times.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self.seconds)
        if self.error is not None:
            raise self.error


@pytest.fixture
def start(time: VirtualTime) -> float:
    return time.time()


async def test_the_next_tick_counts_from_the_end_of_the_last(start: float) -> None:
    box = Box()
    box.seconds = 2.0
    timer = box.timer()
    timer.change(1, 3)
    await asyncio.sleep(20)
    timer.stop()
    assert [round(when - start, 6) for when in box.times] == [1, 6, 11, 16]


async def test_a_single_shot_ticks_once(start: float) -> None:
    box = Box()
    box.timer().change(1)
    await asyncio.sleep(100)
    assert len(box.times) == 1


async def test_a_failed_tick_does_not_end_the_timer(start: float, caplog: pytest.LogCaptureFixture) -> None:
    box = Box()
    box.error = LookupError("tick failed")
    timer = box.timer()
    timer.change(1, 1)
    await asyncio.sleep(3.5)
    timer.stop()
    assert len(box.times) == 3
    assert "tick failed" in caplog.text


async def test_a_stopped_timer_drops_a_tick_that_waits(start: float) -> None:
    """A tick that was queued before the stop does nothing, and no other follows."""
    box = Box(serve_at_once=False)
    timer = box.timer()
    timer.change(1, 1)
    await asyncio.sleep(2)
    timer.stop()
    await box.serve(box.ticks[0])
    await asyncio.sleep(10)
    assert box.times == []
    assert len(box.ticks) == 1


async def test_a_waiting_tick_holds_the_next_back(start: float) -> None:
    box = Box(serve_at_once=False)
    box.timer().change(1, 1)
    await asyncio.sleep(50)
    assert len(box.ticks) == 1


@pytest.mark.parametrize(("reason", "goes_on"), [(Reason.OVERLOADED, True), (Reason.NOT_HERE, False)])
async def test_a_refused_tick_is_lost_and_the_timer_goes_on_while_its_grain_does(
    start: float, reason: Reason, goes_on: bool
) -> None:
    box = Box(serve_at_once=False)
    timer = box.timer()
    timer.change(1, 1)
    await asyncio.sleep(1)
    box.ticks[0].refuse(Refused(reason))
    await asyncio.sleep(1)
    timer.stop()
    assert len(box.ticks) == (2 if goes_on else 1)


async def test_a_timer_is_changed_and_restarted(start: float) -> None:
    box = Box()
    timer = box.timer()
    timer.change(1, 1)
    timer.change(5)
    await asyncio.sleep(4)
    assert box.times == []
    await asyncio.sleep(10)
    assert [when - start for when in box.times] == [5]
    timer.stop()
    timer.change(1, 2)
    await asyncio.sleep(4)
    timer.stop()
    assert len(box.times) == 3
    timer.change(None)
    await asyncio.sleep(10)
    assert len(box.times) == 3


async def test_a_timer_can_be_changed_inside_its_tick(start: float) -> None:
    """The change made by the tick itself is not overwritten when the tick ends."""
    box = Box()
    timer = box.timer()

    async def change() -> None:
        box.times.append(asyncio.get_running_loop().time() - start)
        timer.change(10, 1)

    timer._callback = change  # type: ignore[attr-defined]
    timer.change(1, 1)
    await asyncio.sleep(12)
    timer.stop()
    assert box.times == [1, 11]


@pytest.mark.parametrize("seconds", [-0.1, float("nan"), float("inf"), MAX_SECONDS + 1])
async def test_times_are_checked(start: float, seconds: float) -> None:
    timer = Box().timer()
    for due, period in ((seconds, None), (1, seconds)):
        with pytest.raises(ValueError, match=r"must be between 0(.001)? and"):
            timer.change(due, period)


@pytest.mark.parametrize("interleave", [True, False])
@pytest.mark.parametrize("keep_alive", [True, False])
async def test_ticks_carry_their_options(start: float, interleave: bool, keep_alive: bool) -> None:
    box = Box()
    timer = box.timer(interleave=interleave, keep_alive=keep_alive)
    timer.change(0)
    await asyncio.sleep(1)
    (tick,) = box.ticks
    assert (tick.always_interleave, tick.keeps_alive) == (interleave, keep_alive)


@pytest.mark.parametrize("period", [0, 0.0009, -0.0, 1e-300])
async def test_a_period_that_would_never_let_go_is_refused(start: float, period: float) -> None:
    """Also in `change`, which leaves the timer as it was. A due time of 0 is one tick, and so is allowed."""
    box = Box()
    timer = box.timer()
    timer.change(1, 1)
    with pytest.raises(ValueError, match=r"timer period=.* must be between 0\.001 and"):
        timer.change(0, period)
    await asyncio.sleep(2.5)
    timer.change(0, 0.001)
    timer.stop()
    assert [when - start for when in box.times] == [1, 2]


@pytest.mark.parametrize("seconds", ["5", True, timedelta(seconds=5), 1j])
async def test_times_are_numbers(start: float, seconds: Any) -> None:
    timer = Box().timer()
    for due, period in ((seconds, None), (1, seconds)):
        with pytest.raises(TypeError, match="must be a number of seconds"):
            timer.change(due, period)


class Ticks:
    """Callbacks of all shapes."""

    async def method(self) -> None: ...
    async def needs(self, number: int) -> None: ...
    async def optional(self, number: int = 1) -> None: ...
    def plain(self) -> None: ...
    async def generator(self) -> Any:
        yield 1

    async def __call__(self) -> None: ...


def start_with(callback: Any) -> GrainTimer:
    return GrainTimer(grain_id("clock"), callback, lambda tick: None, False, False, Host())


async def test_a_callback_is_an_async_function_without_arguments() -> None:
    ticks = Ticks()
    reference = reference_class(spec_of(Pinged))(grain_id("pinged"), None)  # type: ignore[arg-type]
    for fine in (
        ticks.method,
        ticks.optional,
        ticks,
        functools.partial(ticks.needs, 1),
        functools.partial(functools.partial(Ticks.needs, ticks), number=1),
        reference.ping,  # type: ignore[attr-defined]
    ):
        start_with(fine)
    for wrong, says in {
        ticks.plain: "must be an async def, a method or functools.partial of one, not <bound method Ticks.plain",
        ticks.generator: "must be an async def",
        functools.partial(ticks.plain): "must be an async def",
        (lambda: ticks.method()): "must be an async def",
        ticks.needs: r"without arguments \(missing a required argument: 'number'\); use functools.partial",
        functools.partial(ticks.method, 1): "without arguments .* use functools.partial",
        Ticks.method: "without arguments",
        None: "must be an async def",
        5: "must be an async def",
        Ticks: "must be an async def",
    }.items():
        with pytest.raises(TypeError, match=says):
            start_with(wrong)


async def test_a_coroutine_in_place_of_its_function_is_named() -> None:
    """It is closed, so Python does not warn that it was never awaited."""
    coroutine = Ticks().method()
    with pytest.raises(TypeError, match=r"write self\.method, not self\.method\(\)"):
        start_with(coroutine)
    assert coroutine.cr_frame is None  # type: ignore[attr-defined]
