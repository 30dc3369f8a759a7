"""Begin and end of activations, also when they are interrupted at any step."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
import svcs

from grange import ActivationFailed, Grain, InvalidCall, RemoteError, SiloUnavailable
from grange.grains.deactivation import DeactivationReason
from grange.grains.facets import Facet, FacetOwner, Parameter
from grange.grains.grain import Grain as AnyGrain
from grange.grains.interface import MethodSpec
from grange.grains.work import Work
from grange.proto.ids import GrainAddress, GrainId, SiloAddress
from grange.proto.message import Reason
from grange.runtime.activations.phase import Phase
from grange.runtime.options import RuntimeOptions
from grange.runtime.requests.refusal import Refused
from tests.runtime.process import HERE, Gate, Process, ScriptedClaims, recorded_call, settle

ELSEWHERE = SiloAddress("10.0.0.2", 11111, 1)


class Steps:
    """Scripts the steps of a grain and records them."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.gates: dict[str, Gate] = {}
        self.errors: dict[str, BaseException] = {}

    async def step(self, name: str) -> None:
        self.done.append(name)
        if name in self.gates:
            await self.gates[name].pass_through()
        if name in self.errors:
            raise self.errors[name]


class Part:
    """A facet whose `load` and `close` are steps. Its operations never fail."""

    unsaved = False

    def __init__(self, steps: Steps) -> None:
        self.steps = steps

    async def load(self) -> None:
        await self.steps.step("load")

    async def close(self) -> None:
        await self.steps.step("close")

    def lost_changes(self, error: BaseException) -> bool:
        return False

    def give_up(self, why: str) -> None:
        self.steps.done.append("give up")


class Parts:
    """A `grains.facets.FacetFactory` that makes `Part`s."""

    def __init__(self, steps: Steps) -> None:
        self.steps = steps

    def check(
        self, owner: str, grain_type: str, parameters: Sequence[Parameter], methods: Sequence[MethodSpec]
    ) -> None:
        """Accept every parameter."""

    async def begin(self, facets: Sequence[Facet]) -> Work:
        raise NotImplementedError

    def make(self, owner: FacetOwner, parameter: Parameter) -> Part:
        self.steps.done.append("make")
        return Part(self.steps)


class Stepping(Grain, name="stepping"):
    def __init__(self, part: Part, steps: Steps) -> None:
        self.steps = steps
        steps.done.append("construct")

    async def on_activate(self) -> None:
        await self.steps.step("on_activate")

    async def on_deactivate(self, reason: DeactivationReason) -> None:
        await self.steps.step("on_deactivate")

    async def work(self) -> str:
        await self.steps.step("work")
        return self.activation_id

    async def finish(self) -> None:
        self.deactivate_when_idle()


Made = tuple[Process, Any, Steps, ScriptedClaims]
Make = Callable[..., Made]


@pytest.fixture
def made(process: Callable[..., Process]) -> Make:
    """Make a process with one grain whose steps a test can observe, hold and break."""

    def make(grain: type[AnyGrain[Any]] = Stepping, **options: float) -> Made:
        steps, claims, registry = Steps(), ScriptedClaims(), svcs.Registry()
        registry.register_value(Steps, steps)
        here = process(
            grain,
            claims=claims,
            services=registry,
            facets={Part: Parts(steps)},
            options=RuntimeOptions(**options),  # type: ignore[arg-type]
        )
        return here, here.grains.get_grain(grain, "a"), steps, claims

    return make


async def test_the_steps_are_taken_in_order(made: Make) -> None:
    """Claim, construct, load, on_activate, serve; on_deactivate, close, release."""
    here, grain, steps, claims = made()
    await grain.work()
    assert steps.done == ["make", "construct", "load", "on_activate", "work"]
    assert [address.grain_id for address, _ in claims.claimed] == [grain.id]
    assert list(here.catalog.registered()) == [claims.claimed[0][0]]
    await grain.finish()
    await here.tasks.wait()
    assert steps.done[5:] == ["on_deactivate", "close"]
    assert claims.released == [claims.claimed[0][0]]
    assert here.catalog.find(grain.id) is None


@pytest.mark.parametrize("step", ["claim", "load", "on_activate"])
async def test_an_activation_that_is_cancelled_frees_all_resources(made: Make, step: str) -> None:
    """The silo stops while it waits at this step: callers are refused, state is closed, the claim is released."""
    here, grain, steps, claims = made()
    gate = steps.gates[step] = claims.gate = Gate()
    if step != "claim":
        claims.gate = None
    outcome: list[Refused] = []
    here.catalog.deliver(recorded_call(grain.id, outcome))
    await gate.reached.wait()
    await here.tasks.close()
    assert [refused.reason for refused in outcome] == [Reason.NOT_READY]
    assert steps.done.count("close") == (step != "claim")
    assert len(claims.released) == (step != "claim")
    assert here.catalog.find(grain.id) is None
    assert "work" not in steps.done


@pytest.mark.parametrize("step", ["on_deactivate", "close"])
async def test_a_deactivation_that_is_cancelled_frees_all_resources(made: Make, step: str) -> None:
    here, grain, steps, claims = made()
    await grain.work()
    steps.gates[step] = Gate()
    await grain.finish()
    await steps.gates[step].reached.wait()
    outcome: list[Refused] = []
    here.catalog.deliver(recorded_call(grain.id, outcome))
    await here.tasks.close()
    assert steps.done[-1] == "close"
    assert len(claims.released) == 1
    assert [refused.reason for refused in outcome] == [Reason.NOT_HERE]
    assert here.catalog.find(grain.id) is None


@pytest.mark.parametrize("step", ["load", "on_activate"])
async def test_what_a_step_raises_reaches_every_waiting_caller(made: Make, step: str) -> None:
    _, grain, steps, claims = made()
    steps.errors[step] = LookupError(f"{step} failed")
    gate = steps.gates[step] = Gate()  # an activation that awaits nothing is complete at once
    calls = [asyncio.create_task(grain.work()) for _ in range(3)]
    await gate.reached.wait()
    await asyncio.sleep(0)
    gate.opened.set()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [LookupError] * 3
    assert "work" not in steps.done
    assert steps.done[-1] == "close"
    assert len(claims.released) == len(claims.claimed) == 1


class Unprintable(Exception):
    def __repr__(self) -> str:
        raise RuntimeError("no text")

    __str__ = __repr__


async def test_an_error_without_a_text_does_not_leave_callers_waiting(made: Make) -> None:
    """Even if `__repr__` raises, the activation is torn down and its callers get an error."""
    here, grain, steps, claims = made()
    steps.errors["on_activate"] = Unprintable()
    with pytest.raises(RemoteError, match="Unprintable"):
        await grain.work()
    assert len(claims.released) == 1
    assert here.catalog.find(grain.id) is None


async def test_an_inner_outcome_is_not_the_outer_one(made: Make) -> None:
    """A SiloUnavailable raised in `on_activate` must not make the caller's loop repeat the call for ever."""
    _, grain, steps, claims = made()
    steps.errors["on_activate"] = SiloUnavailable("of another call")
    with pytest.raises(RemoteError, match="SiloUnavailable"):
        await grain.work()
    assert len(claims.claimed) == 1


@pytest.mark.parametrize("step", ["on_deactivate", "close"])
async def test_errors_at_the_end_are_logged_and_stop_nothing(
    made: Make, step: str, caplog: pytest.LogCaptureFixture
) -> None:
    here, grain, steps, claims = made()
    first = await grain.work()
    steps.errors[step] = LookupError(f"{step} failed")
    await grain.finish()
    await here.tasks.wait()
    assert f"{step} failed" in caplog.text
    assert len(claims.released) == 1
    steps.errors.clear()
    assert await grain.work() != first


async def test_a_release_that_fails_does_not_stop_the_deactivation(
    made: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """The activation is gone nevertheless, and the next one can start."""
    here, grain, _, claims = made()
    first = await grain.work()
    claims.release_error = OSError("the directory is away")
    await grain.finish()
    await here.tasks.wait()
    assert here.catalog.find(grain.id) is None
    claims.release_error = None
    assert await grain.work() != first
    assert "the directory is away" in caplog.text


@pytest.mark.parametrize("step", ["on_deactivate", "close"])
async def test_a_deactivation_has_a_time_limit(made: Make, step: str) -> None:
    here, grain, steps, claims = made(deactivation_timeout=3)
    await grain.work()
    steps.gates[step] = Gate()
    await grain.finish()
    before = asyncio.get_running_loop().time()
    await here.tasks.wait()
    assert asyncio.get_running_loop().time() == before + 3
    assert len(claims.released) == 1


async def test_requests_during_the_end_meet_the_next_activation(made: Make) -> None:
    _, grain, steps, _ = made()
    first = await grain.work()
    gate = steps.gates["on_deactivate"] = Gate()
    await grain.finish()
    await gate.reached.wait()
    waiting = asyncio.create_task(grain.work())
    await settle()
    assert not waiting.done()
    gate.opened.set()
    assert await waiting != first
    assert steps.done.count("on_activate") == 2


# --- the claim -----------------------------------------------------------------------------------------------------


async def test_a_lost_claim_names_the_winner_and_runs_nothing(made: Make) -> None:
    here, grain, steps, claims = made()
    claims.winner = lambda address, _: GrainAddress(address.grain_id, ELSEWHERE, 99)
    outcome: list[Refused] = []
    here.catalog.deliver(recorded_call(grain.id, outcome))
    await here.tasks.wait()
    assert [(refused.reason, refused.hint) for refused in outcome] == [(Reason.NOT_HERE, ELSEWHERE)]
    assert steps.done == []
    assert claims.released == []
    assert here.catalog.find(grain.id) is None


async def test_a_leftover_of_this_silo_is_replaced(made: Make) -> None:
    """The directory holds a gone activation of this silo. Only this silo knows that, so it replaces the entry."""
    _, grain, steps, claims = made()
    leftover = GrainAddress(grain.id, HERE, 42, version=3)

    def winner(address: GrainAddress, previous: GrainAddress | None) -> GrainAddress:
        return msgspec.structs.replace(address, version=7) if previous == leftover else leftover

    claims.winner = winner
    assert await grain.work()
    assert [previous for _, previous in claims.claimed] == [None, leftover]
    assert steps.done[-1] == "work"


async def test_the_version_of_the_claim_is_kept_for_its_release(made: Make) -> None:
    here, grain, _, claims = made()
    claims.winner = lambda address, _: msgspec.structs.replace(address, version=7)
    await grain.work()
    await grain.finish()
    await here.tasks.wait()
    assert claims.released[0].version == 7


async def test_a_directory_that_does_not_answer_refuses_for_a_repeat(made: Make) -> None:
    here, grain, steps, claims = made()

    def away(address: GrainAddress, _: GrainAddress | None) -> GrainAddress:
        raise SiloUnavailable("the range is being recovered")

    claims.winner = away
    outcome: list[Refused] = []
    here.catalog.deliver(recorded_call(grain.id, outcome))
    await here.tasks.wait()
    assert [refused.reason for refused in outcome] == [Reason.NOT_READY]
    assert steps.done == []


async def test_an_activation_that_lost_its_claim_ends_and_leaves_the_entry_alone(made: Make) -> None:
    """The directory holds another activation, whose entry must not be removed."""
    here, grain, steps, claims = made()
    await grain.work()
    address = here.activation(grain).address
    here.catalog.deactivate_duplicate(msgspec.structs.replace(address, activation=1))
    assert here.activation(grain).phase is Phase.ACTIVE
    here.catalog.deactivate_duplicate(address)
    assert list(here.catalog.registered()) == []
    await here.tasks.wait()
    assert claims.released == []
    assert steps.done[-2:] == ["on_deactivate", "close"]
    assert here.catalog.find(grain.id) is None


async def test_a_duplicate_found_while_it_activates_fails(made: Make) -> None:
    here, grain, steps, claims = made()
    gate = steps.gates["on_activate"] = Gate()
    outcome: list[Refused] = []
    here.catalog.deliver(recorded_call(grain.id, outcome))
    await gate.reached.wait()
    here.catalog.deactivate_duplicate(here.activation(grain).address)
    gate.opened.set()
    await here.tasks.wait()
    assert len(outcome) == 1
    assert "work" not in steps.done
    assert claims.released == []


async def test_a_key_of_the_wrong_kind_never_reaches_the_directory(process: Callable[..., Process]) -> None:
    """The key came as text from a peer without the class."""

    class Numbered(Grain[int]):
        async def work(self) -> int:
            return self.key

    claims = ScriptedClaims()
    here = process(Numbered, claims=claims)
    outcome: list[Refused] = []
    here.catalog.deliver(recorded_call(GrainId("numbered", "007"), outcome))
    await here.tasks.wait()
    assert outcome[0].reason is Reason.INVALID_CALL
    assert "keys of kind int" in outcome[0].message
    assert isinstance(outcome[0].error(GrainId("numbered", "007")), InvalidCall)
    assert claims.claimed == []


async def test_deactivating_while_activating_is_a_failure_not_a_loop(made: Make) -> None:
    class EndsAtOnce(Stepping, name="ends_at_once"):
        async def on_activate(self) -> None:
            self.deactivate_when_idle()

    _, grain, _, claims = made(EndsAtOnce)
    with pytest.raises(ActivationFailed, match="the grain asked for it"):
        await grain.work()
    assert len(claims.claimed) == len(claims.released) == 1
