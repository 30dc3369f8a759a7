"""An activation from its begin to its end: which requests run, which wait, which are refused."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any

import pytest

from grange import CallTimeout, Grain, InvalidCall, Overloaded, always_interleave, response_timeout
from grange.runtime.activations.activation import Activation
from grange.runtime.activations.mailbox import MAX_COUNTED, Mailbox
from grange.runtime.activations.phase import Phase
from tests.runtime.process import Process, settle

Make = Callable[..., Process]


class Ender(Grain):
    """Its turns end the activation and may call it again."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.go_on = asyncio.Event()

    @response_timeout(5)
    async def end_and_ask_itself(self) -> str:
        self.deactivate_when_idle()
        return await self.reference.peek()

    @always_interleave
    async def peek(self) -> str:
        return self.activation_id

    @response_timeout(5)
    async def ordinary(self) -> str:
        return self.activation_id

    async def end_and_wait(self) -> str:
        self.deactivate_when_idle()
        await self.go_on.wait()
        return self.activation_id

    @always_interleave
    async def release(self) -> None:
        self.go_on.set()


async def test_a_closing_activation_lets_in_what_its_last_turn_waits_for(process: Make) -> None:
    """A turn that ended its activation may wait for an always-interleaving call back: that call must be admitted."""
    here = process(Ender)
    grain = here.grains.get_grain(Ender, "a")
    first = await grain.ordinary()
    assert await grain.end_and_ask_itself() == first
    await here.tasks.wait()
    assert await grain.peek() != first


async def test_ordinary_requests_wait_for_the_next_activation(process: Make) -> None:
    here = process(Ender)
    grain = here.grains.get_grain(Ender, "a")
    last = asyncio.create_task(grain.end_and_wait())
    await settle()
    later = asyncio.create_task(grain.ordinary())
    await settle()
    assert here.activation(grain).phase is Phase.CLOSING
    assert not later.done()
    await grain.release()
    assert await later != await last


class Timer(Grain):
    """Has a method with the name that a careless runtime would give to ticks."""

    def __init__(self) -> None:
        self.ticks = 0

    async def timer(self) -> None: ...

    async def run(self) -> int:
        self.start_timer(self._tick, 1, 1, interleave=True)
        before = self.ticks
        await asyncio.sleep(5.5)
        return self.ticks - before

    async def _tick(self) -> None:
        self.ticks += 1


async def test_ticks_are_no_method_of_any_class(process: Make) -> None:
    """A method name of the class must not change how ticks are admitted."""
    here = process(Timer)
    assert await here.grains.get_grain(Timer, "a").run() == 5


class Narrow(Grain, mailbox_limit=2, reentrant=False):
    def __init__(self) -> None:
        self.gate = asyncio.Event()

    async def warm(self) -> None: ...

    async def hold(self) -> None:
        await self.gate.wait()

    @always_interleave
    async def release(self) -> None:
        self.gate.set()


async def test_a_full_mailbox_refuses_and_what_needs_no_place_in_it_passes(process: Make) -> None:
    here = process(Narrow)
    grain = here.grains.get_grain(Narrow, "a")
    await grain.warm()
    calls = [asyncio.create_task(grain.hold()) for _ in range(4)]
    await settle()
    assert calls[3].done()
    with pytest.raises(Overloaded, match="2 requests wait already"):
        await calls[3]
    await grain.release()
    await asyncio.gather(*calls[:3])


def picky(method: str, args: tuple[Any, ...]) -> bool:
    return args[0] == "yes"


class Picky(Grain, may_interleave=picky):
    async def hold(self, word: str) -> str:
        await asyncio.sleep(1)
        return word


async def test_a_predicate_reads_the_arguments_as_the_method_would(process: Make) -> None:
    here = process(Picky)
    grain = here.grains.get_grain(Picky, "a")
    before = asyncio.get_running_loop().time()
    await asyncio.gather(grain.hold("no"), grain.hold("yes"), grain.hold("yes"))
    assert asyncio.get_running_loop().time() == before + 1
    with pytest.raises(InvalidCall, match="argument 'word'"):
        await grain.hold(5)  # type: ignore[arg-type]


class Stateful(Grain):
    async def leak(self) -> None:
        activation: Any = self._grange
        activation.check_turn()
        await asyncio.create_task(self._inside())

    async def _inside(self) -> None:
        activation: Any = self._grange
        activation.check_turn()


async def test_check_turn_accepts_only_code_of_the_activations_turns(process: Make) -> None:
    """Tasks started by a turn pass; code outside raises."""
    here = process(Stateful)
    grain = here.grains.get_grain(Stateful, "a")
    await grain.leak()
    with pytest.raises(RuntimeError, match="stateful/a belongs to its activation"):
        here.activation(grain).check_turn()


@pytest.mark.parametrize("seconds", [-1, math.nan])
async def test_a_delay_is_a_number_of_seconds(process: Make, seconds: float) -> None:
    here = process(Stateful)
    grain = here.grains.get_grain(Stateful, "a")
    await grain.leak()
    with pytest.raises(ValueError, match="takes 0 or more seconds"):
        here.activation(grain).delay_deactivation(seconds)


async def test_a_time_out_says_how_far_the_call_got(process: Make) -> None:
    class Slow(Grain):
        @response_timeout(5)
        async def slow(self) -> None:
            await asyncio.sleep(100)

        async def on_activate(self) -> None:
            await asyncio.sleep(3)

    here = process(Slow)
    grain = here.grains.get_grain(Slow, "a")
    first, second = await asyncio.gather(grain.slow(), grain.slow(), return_exceptions=True)
    assert isinstance(first, CallTimeout)
    assert "running for 2.0 s" in str(first)
    assert "queued at 1 of 1 (active)" in str(second)
    activating = here.grains.get_grain(Slow, "b")
    Slow.on_activate = lambda self: asyncio.sleep(100)  # type: ignore[method-assign,assignment]
    with pytest.raises(CallTimeout, match=r"queued at 1 of 1 \(activating\)"):
        await activating.slow()


def test_an_activation_is_small() -> None:
    """A silo may hold millions: an activation has no `__dict__`, and no queue while no request waits."""
    assert "__dict__" not in dir(Activation)
    assert "__dict__" not in dir(Mailbox)
    assert Mailbox().waiting is None


class Patient(Grain, mailbox_limit=2):
    async def hold(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    @response_timeout(1)
    async def soon(self) -> None: ...


async def test_a_caller_that_goes_gives_back_its_place_at_once(process: Make) -> None:
    """By cancellation or by its deadline; the turn before it still runs."""
    here = process(Patient)
    grain = here.grains.get_grain(Patient, "a")
    holding = asyncio.ensure_future(grain.hold(10))
    await settle()
    waiting = [asyncio.ensure_future(grain.hold(0)) for _ in range(2)]
    await settle()
    with pytest.raises(Overloaded):
        await grain.soon()
    waiting[0].cancel()
    await settle()
    with pytest.raises(CallTimeout, match=r"queued at 2 of 2 \(active\)"):
        await grain.soon()
    assert len(here.activation(grain).waiting) == 1
    await asyncio.gather(holding, waiting[1])


async def test_a_long_queue_is_not_searched_to_the_end(process: Make) -> None:
    here = process(Ender)
    grain = here.grains.get_grain(Ender, "a")
    holding = asyncio.ensure_future(grain.end_and_wait())
    await settle()
    calls = [asyncio.ensure_future(grain.ordinary()) for _ in range(MAX_COUNTED + 100)]
    await settle(100)
    last = list(here.activation(grain).waiting)[-1]
    assert here.activation(grain).status(last).startswith(f"queued at {MAX_COUNTED + 1} or later of {len(calls)}")
    await grain.release()
    await asyncio.gather(holding, *calls)
