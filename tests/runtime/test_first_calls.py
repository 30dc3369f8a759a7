"""The first call of a grain: it activates at once if no step waits, and keeps every promise if one does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from grange import ActivationFailed, CallTimeout, Grain, response_timeout
from grange.grains.context import current_turn
from grange.proto.ids import GrainAddress, GrainId, SiloAddress
from grange.proto.message import Reason
from grange.runtime.activations.phase import Phase
from grange.runtime.locator import LocalOnly
from grange.runtime.options import RuntimeOptions
from grange.runtime.requests.refusal import Refused
from tests.runtime.process import HERE, Process, RecordedCall, ScriptedClaims, settle
from tests.runtime.process import Gate as Point

Make = Callable[..., Process]

ELSEWHERE = SiloAddress("10.0.0.2", 11111, 1)


class Desk(Grain):
    """Waits for nothing to activate."""

    def __init__(self) -> None:
        MADE.append((asyncio.current_task(), current_turn.get()))
        for act in CONSTRUCTOR:
            act(self)

    @response_timeout(5)
    async def work(self) -> str:
        DONE.append(f"work {self.key}")
        return self.activation_id

    async def slow(self) -> None:
        DONE.append("slow begins")
        await asyncio.sleep(1)
        DONE.append("slow ends")


MADE: list[tuple[Any, Any]] = []
CONSTRUCTOR: list[Callable[[Desk], None]] = []
DONE: list[str] = []


@pytest.fixture(autouse=True)
def _fresh() -> None:
    for each in (MADE, CONSTRUCTOR, DONE):
        each.clear()


class CountedClaims(LocalOnly):
    """Decides each claim without waiting, and counts claims and releases."""

    def __init__(self) -> None:
        super().__init__(HERE)
        self.claimed: list[GrainAddress] = []
        self.released: list[GrainAddress] = []

    def claim_now(self, address: GrainAddress) -> GrainAddress:
        self.claimed.append(address)
        return GrainAddress(address.grain_id, address.silo, address.activation, 7)

    async def claim(self, address: GrainAddress, previous: GrainAddress | None = None) -> GrainAddress:
        raise AssertionError("the claim was decided already")

    async def release(self, address: GrainAddress) -> None:
        self.released.append(address)


def ended(call: Coroutine[Any, Any, Any]) -> Any:
    """The result of a call that must not suspend."""
    with pytest.raises(StopIteration) as stop:
        call.send(None)
    return stop.value.value


async def test_it_suspends_nowhere_if_no_step_waits(process: Make) -> None:
    claims = CountedClaims()
    here = process(Desk, claims=claims)
    desk: Any = here.grains.get_grain(Desk, "a")
    assert ended(desk.work())
    assert DONE == ["work a"]
    assert len(claims.claimed) == 1
    assert here.activation(desk).address.version == 7
    assert list(here.catalog.registered()) == [here.activation(desk).address]
    assert len(here.tasks) == 0


async def test_user_code_has_a_task_and_a_context_of_its_own(process: Make) -> None:
    desk: Any = process(Desk).grains.get_grain(Desk, "a")
    await desk.work()
    ((task, activation),) = MADE
    assert task is not None
    assert task is not asyncio.current_task()
    assert activation is not None
    assert current_turn.get(None) is None


async def test_an_error_of_the_constructor_reaches_the_first_caller_and_frees_the_claim(process: Make) -> None:
    claims = CountedClaims()
    here = process(Desk, claims=claims)
    desk: Any = here.grains.get_grain(Desk, "a")

    def fail(_: Desk) -> None:
        raise RuntimeError("no desk")

    CONSTRUCTOR.append(fail)
    with pytest.raises(RuntimeError, match="no desk") as failed:
        await desk.work()
    assert "raised while activating desk/a" in "".join(failed.value.__notes__)
    assert len(claims.released) == 1
    assert here.catalog.find(desk.id) is None
    CONSTRUCTOR.clear()
    await desk.work()
    assert DONE == ["work a"]


async def test_a_constructor_that_ends_its_activation_fails_it(process: Make) -> None:
    CONSTRUCTOR.append(lambda desk: desk.deactivate_when_idle())
    desk: Any = process(Desk).grains.get_grain(Desk, "a")
    with pytest.raises(ActivationFailed, match="the grain asked for it"):
        await desk.work()
    assert not DONE


async def test_a_closed_gate_comes_after_the_claim_and_before_user_code(process: Make) -> None:
    claims = CountedClaims()
    here = process(Desk, claims=claims)
    desk: Any = here.grains.get_grain(Desk, "a")
    here.deps.gate.pause()
    call = asyncio.create_task(desk.work())
    await settle()
    assert len(claims.claimed) == 1
    assert not MADE
    here.deps.gate.open(float("inf"))
    await call
    assert len(MADE) == 1


async def test_the_time_out_bounds_what_waits(process: Make) -> None:
    """The gate stays closed, or the claim is not decided: the activation fails after `activation_timeout`."""
    for claims in (CountedClaims(), ScriptedClaims()):
        here = process(Desk, claims=claims, options=RuntimeOptions(activation_timeout=2))
        here.deps.gate.pause()
        if isinstance(claims, ScriptedClaims):
            claims.gate = Point()
        with pytest.raises(ActivationFailed, match="activating took longer than 2 s"):
            await here.grains.get_grain(Desk, "a").work()
        assert not MADE


async def test_a_request_of_a_caller_that_goes_while_it_activates_never_runs(process: Make) -> None:
    claims = ScriptedClaims()
    gate = claims.gate = Point()
    here = process(Desk, claims=claims)
    desk: Any = here.grains.get_grain(Desk, "a")
    call = asyncio.create_task(desk.work())
    await gate.reached.wait()
    activation = here.activation(desk)
    assert len(activation.waiting) == 1
    assert not activation.running
    call.cancel()
    await settle()
    assert not activation.waiting
    gate.opened.set()
    await settle()
    assert activation.phase is Phase.ACTIVE
    assert not DONE


async def test_requests_that_wait_together_run_in_the_order_of_their_arrival(process: Make) -> None:
    claims = ScriptedClaims()
    gate = claims.gate = Point()
    here = process(Desk, claims=claims)
    desk: Any = here.grains.get_grain(Desk, "a")
    calls = [asyncio.create_task(call) for call in (desk.slow(), desk.work())]
    await gate.reached.wait()
    assert [call.method for call in here.activation(desk).waiting] == ["slow", "work"]
    gate.opened.set()
    await asyncio.gather(*calls)
    assert DONE == ["slow begins", "slow ends", "work a"]


async def test_a_killed_activation_refuses_its_first_request(process: Make) -> None:
    claims = ScriptedClaims()
    gate = claims.gate = Point()
    here = process(Desk, claims=claims)
    outcome: list[Refused] = []
    here.catalog.deliver(RecordedCall(GrainId("desk", "a"), outcome))
    await gate.reached.wait()
    await here.catalog.kill()
    assert [refused.reason for refused in outcome] == [Reason.NOT_READY]
    gate.opened.set()
    await settle()
    assert not DONE


async def test_a_time_out_names_the_place_of_a_first_request(process: Make) -> None:
    claims = ScriptedClaims()
    claims.gate = Point()
    here = process(Desk, claims=claims)
    with pytest.raises(CallTimeout, match=r"queued at 1 of 1 \(activating\)"):
        await here.grains.get_grain(Desk, "a").work()


async def test_a_first_turn_that_suspends_makes_the_next_request_wait(process: Make) -> None:
    here = process(Desk)
    desk: Any = here.grains.get_grain(Desk, "a")
    first = asyncio.create_task(desk.slow())
    await settle()
    await asyncio.gather(first, desk.work())
    assert DONE == ["slow begins", "slow ends", "work a"]


async def test_a_catalog_that_takes_no_grains_refuses_a_first_call(process: Make) -> None:
    """The call goes on in the retry loop, and its time is over there."""
    here = process(Desk)
    here.catalog._open = False
    call = asyncio.create_task(here.grains.get_grain(Desk, "a").work())
    await asyncio.sleep(0.5)
    assert not MADE
    here.catalog.open()
    await call
    assert len(MADE) == 1
