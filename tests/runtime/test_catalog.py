"""The catalog: activations are created once, found, counted, drained and killed; worker pools; idle collection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import svcs

from grange import ConfigurationError, Grain, NoSuchGrain, SiloStopped, SiloUnavailable
from grange.grains.deactivation import DeactivationCode, DeactivationReason
from grange.proto.ids import GrainId
from grange.proto.message import Reason
from grange.runtime.activations.collector import SWEEP_BATCH, idle_for
from grange.runtime.activations.phase import Phase
from grange.runtime.options import RuntimeOptions
from grange.runtime.requests.refusal import Refused
from tests.runtime.process import Gate, Process, RecordedCall, ScriptedClaims, settle

Make = Callable[..., Process]


class Log:
    """Records what the grains of a test did."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.gate = Gate()


def services(log: Log) -> svcs.Registry:
    registry = svcs.Registry()
    registry.register_value(Log, log)
    return registry


class Cart(Grain):
    def __init__(self, log: Log) -> None:
        self.log = log

    async def on_activate(self) -> None:
        self.log.events.append("activate")

    async def on_deactivate(self, reason: DeactivationReason) -> None:
        self.log.events.append(f"deactivate: {reason}")

    async def work(self) -> str:
        return self.activation_id

    async def hold(self) -> str:
        try:
            await self.log.gate.pass_through()
        except asyncio.CancelledError:
            self.log.events.append("cancelled")
            raise
        return self.activation_id


async def test_what_arrives_together_meets_one_activation(process: Make) -> None:
    """The catalog inserts the activation before it awaits anything, so it never creates a grain twice."""
    log, claims = Log(), ScriptedClaims()
    claims.gate = Gate()
    here = process(Cart, claims=claims, services=services(log))
    grain = here.grains.get_grain(Cart, "a")
    calls = [asyncio.create_task(grain.work()) for _ in range(10)]
    await claims.gate.reached.wait()
    assert here.catalog.counts() == {"cart": 1}
    claims.gate.opened.set()
    assert len(set(await asyncio.gather(*calls))) == 1
    assert log.events == ["activate"]


@pytest.mark.parametrize(
    ("grain_id", "method", "reason", "says"),
    [
        (GrainId("missing", "a"), "work", Reason.NO_SUCH_GRAIN, "hosts no grain type 'missing'"),
        (GrainId("cart", "a"), "nothing", Reason.NO_SUCH_METHOD, "'cart' has no method 'nothing'; it has: hold, work"),
        (GrainId("cart", "a"), "on_activate", Reason.NO_SUCH_METHOD, "has no method"),
        (GrainId("cart", "live"), "nothing", Reason.NO_SUCH_METHOD, "has no method"),
        (GrainId("cart", "live"), "(timer)", Reason.NO_SUCH_METHOD, "has no method"),
    ],
)
async def test_what_is_not_here_is_refused_at_once(
    process: Make, grain_id: GrainId, method: str, reason: Reason, says: str
) -> None:
    """Even if the grain is live already. No activation is created."""
    here = process(Cart, services=services(Log()))
    await here.grains.get_grain(Cart, "live").work()
    refused: list[Refused] = []
    here.catalog.deliver(RecordedCall(grain_id, refused, method))
    assert [each.reason for each in refused] == [reason]
    assert says in refused[0].message
    assert here.catalog.counts() == {"cart": 1}


async def test_a_draining_silo_ends_all_after_their_turns(process: Make) -> None:
    """Running requests complete, waiting ones are refused for a repeat, absent grains are not created."""
    log = Log()
    here = process(Cart, services=services(log))
    grain, other = here.grains.get_grain(Cart, "a"), here.grains.get_grain(Cart, "b")
    first = await grain.work()
    await other.work()
    running = asyncio.create_task(grain.hold())
    await log.gate.reached.wait()
    refused: list[Refused] = []
    waiting = RecordedCall(grain.id, refused)
    here.catalog.deliver(waiting)
    drained = asyncio.create_task(here.catalog.drain())
    await settle()
    assert not drained.done()
    here.catalog.deliver(RecordedCall(GrainId("cart", "new"), refused))
    assert [each.reason for each in refused] == [Reason.NOT_READY]
    log.gate.opened.set()
    await drained
    assert await running == first
    assert [each.reason for each in refused] == [Reason.NOT_READY, Reason.NOT_HERE]
    assert waiting.values == []
    assert log.events.count("deactivate: the silo is stopping") == 2
    assert here.catalog.counts() == {}


async def test_an_empty_silo_drains_at_once(process: Make) -> None:
    await process(Cart, services=services(Log())).catalog.drain()


async def test_an_activation_that_is_activating_is_drained_too(process: Make) -> None:
    claims = ScriptedClaims()
    claims.gate = Gate()
    here = process(Cart, claims=claims, services=services(Log()))
    refused: list[Refused] = []
    here.catalog.deliver(RecordedCall(GrainId("cart", "a"), refused))
    await claims.gate.reached.wait()
    drained = asyncio.create_task(here.catalog.drain())
    await settle()
    claims.gate.opened.set()
    await drained
    assert [each.reason for each in refused] == [Reason.NOT_HERE]
    assert len(claims.released) == 1


async def test_cancel_turns_waits_for_the_end_of_the_turns(process: Make) -> None:
    log = Log()
    here = process(Cart, services=services(log))
    call = asyncio.create_task(here.grains.get_grain(Cart, "a").hold())
    await log.gate.reached.wait()
    await here.catalog.cancel_turns()
    assert log.events[:2] == ["activate", "cancelled"]
    with pytest.raises(SiloStopped, match=r"stopped while it ran cart/a\.hold"):
        await call


async def test_code_that_will_not_be_cancelled_is_left_behind(process: Make, caplog: pytest.LogCaptureFixture) -> None:
    class Stubborn(Grain):
        async def hold(self) -> None:
            for _ in range(3):
                try:
                    await asyncio.sleep(8)
                except asyncio.CancelledError:
                    continue

    here = process(Stubborn)
    call = asyncio.create_task(here.grains.get_grain(Stubborn, "a").hold())
    await settle()
    before = asyncio.get_running_loop().time()
    await here.catalog.cancel_turns()
    assert asyncio.get_running_loop().time() - before == 5
    (complaint,) = [each for each in caplog.records if getattr(each, "event", "") == "turn_would_not_end"]
    assert "stubborn/a.hold did not end" in complaint.message
    with pytest.raises(SiloStopped):
        await call
    await asyncio.sleep(20)


async def test_only_what_matches_is_deactivated(process: Make) -> None:
    here = process(Cart, services=services(Log()))
    for key in "abc":
        await here.grains.get_grain(Cart, key).work()
    chosen = DeactivationReason(DeactivationCode.OPERATOR, "chosen")
    assert await here.catalog.deactivate_where(lambda each: each.key == "b", chosen) == 1
    await here.tasks.wait()
    assert sorted(each.grain_id.key for each in here.catalog.activations()) == ["a", "c"]


async def test_only_claims_that_were_won_are_registered(process: Make) -> None:
    """The recovery of the directory asks for these: no activation that waits for its claim, and no worker."""

    class Worker(Grain, stateless_workers=2):
        async def work(self) -> None: ...

    claims = ScriptedClaims()
    here = process(Cart, Worker, claims=claims, services=services(Log()))
    await here.grains.get_grain(Worker, "w").work()
    await here.grains.get_grain(Cart, "won").work()
    claims.gate = Gate()
    here.catalog.deliver(RecordedCall(GrainId("cart", "waits"), []))
    await settle()
    assert [address.grain_id.key for address in here.catalog.registered()] == ["won"]


# --- workers -------------------------------------------------------------------------------------------------------


class Worker(Grain, stateless_workers=2):
    def __init__(self, log: Log) -> None:
        self.log = log
        log.events.append("construct")
        if len(log.events) == 3:
            raise LookupError("the third worker fails")

    async def work(self, seconds: float = 1) -> str:
        await asyncio.sleep(seconds)
        return self.activation_id

    async def finish(self) -> None:
        self.deactivate_when_idle()


async def test_a_request_goes_to_the_first_idle_worker_then_to_the_least_busy(process: Make) -> None:
    here = process(Worker, services=services(Log()))
    grain = here.grains.get_grain(Worker, "w")
    one, two = await asyncio.gather(grain.work(), grain.work())
    assert one != two
    assert await grain.work() == await grain.work() == one
    calls = [asyncio.create_task(grain.work(3)), asyncio.create_task(grain.work(1))]
    await settle()
    calls += [asyncio.create_task(grain.work()) for _ in range(2)]
    assert sorted(await asyncio.gather(*calls)) == sorted([one, two] * 2)


async def test_a_worker_that_cannot_begin_fails_its_own_callers_only(process: Make) -> None:
    log = Log()
    here = process(Worker, services=services(log))
    grain = here.grains.get_grain(Worker, "w")
    one, _ = await asyncio.gather(grain.work(), grain.work())
    await grain.finish()
    outcomes = await asyncio.gather(*(grain.work() for _ in range(3)), return_exceptions=True)
    assert sum(isinstance(outcome, LookupError) for outcome in outcomes) == 1
    assert one not in outcomes


async def test_an_empty_pool_goes_and_a_silo_with_pools_drains(process: Make) -> None:
    here = process(Worker, services=services(Log()))
    grain = here.grains.get_grain(Worker, "w")
    await grain.work()
    await grain.finish()
    await here.tasks.wait()
    assert here.catalog.find(grain.id) is None
    await grain.work()
    await here.catalog.drain()
    assert here.catalog.find(grain.id) is None


async def test_workers_claim_nothing(process: Make) -> None:
    claims = ScriptedClaims()
    here = process(Worker, claims=claims, services=services(Log()))
    await here.grains.get_grain(Worker, "w").work()
    assert claims.claimed == []


# --- collection ----------------------------------------------------------------------------------------------------


class Quiet(Grain):
    async def touch(self) -> None: ...

    async def stay(self, seconds: float) -> None:
        self.delay_deactivation(seconds)


async def test_many_idle_activations_do_not_hold_the_loop(process: Make) -> None:
    """The sweep yields to the event loop after each batch, so a large silo goes on serving."""
    here = process(Quiet, options=RuntimeOptions(idle_timeout=10, collect_period=5))
    for number in range(3 * SWEEP_BATCH):
        await here.grains.get_grain(Quiet, str(number)).touch()
    here.tasks.start(here.collector.run())
    turns = 0

    async def spin() -> None:
        nonlocal turns
        while here.catalog.counts():
            turns += 1
            await asyncio.sleep(0 if turns % 100 else 1)

    await asyncio.wait_for(spin(), 60)
    assert turns > 3


@pytest.mark.parametrize("delay", [0.0, 35.0])
async def test_collected_in_time_and_not_before(process: Make, delay: float) -> None:
    """An activation is collected after its idle time-out and its delay, at most one period later."""
    here = process(Quiet, options=RuntimeOptions(idle_timeout=20, collect_period=5))
    loop = asyncio.get_running_loop()
    here.tasks.start(here.collector.run())
    grain = here.grains.get_grain(Quiet, "a")
    start = loop.time()
    await grain.stay(delay)
    due = start + max(20, delay)
    while here.catalog.find(grain.id) is not None:
        await asyncio.sleep(0.5)
    assert due <= loop.time() <= due + 5 + 0.5


async def test_the_collector_drops_activations_that_are_gone(process: Make) -> None:
    here = process(Quiet, options=RuntimeOptions(idle_timeout=20, collect_period=5))
    here.tasks.start(here.collector.run())
    grain = here.grains.get_grain(Quiet, "a")
    await grain.touch()
    here.activation(grain).deactivate(DeactivationReason(DeactivationCode.OPERATOR, "by hand"))
    await asyncio.sleep(60)
    assert here.collector._buckets == {}  # type: ignore[attr-defined]


async def test_idle_for_does_not_depend_on_the_idle_timeout(process: Make) -> None:
    here = process(Quiet)
    grain, now = here.grains.get_grain(Quiet, "a"), asyncio.get_running_loop().time
    await grain.touch()
    activation = here.activation(grain)
    await asyncio.sleep(10)
    assert idle_for(activation, 10, now())
    assert not idle_for(activation, 11, now())
    activation.delay_deactivation(60)
    assert not idle_for(activation, 10, now())
    assert activation.phase is Phase.ACTIVE


# --- what a class needs to be hosted -------------------------------------------------------------------------------


class Clock:
    """A service."""


def test_constructors_that_cannot_be_served_stop_the_start() -> None:
    class Rest(Grain):
        def __init__(self, *clocks: Clock) -> None: ...

    class Untyped(Grain):
        def __init__(self, clock) -> None: ...

    class Positional(Grain):
        def __init__(self, clock: Clock, /) -> None: ...

    class Unregistered(Grain):
        def __init__(self, clock: Clock) -> None: ...

    class Union(Grain):
        def __init__(self, clock: Clock | None) -> None: ...

    async def check() -> None:
        for cls, says in {
            Rest: r"Rest\.__init__: \*clocks cannot be injected",
            Untyped: r"Untyped\.__init__: 'clock' needs a type",
            Positional: r"Positional\.__init__: \*clock cannot be injected",
            Unregistered: r"Unregistered\.__init__: nothing is registered for 'clock'",
            Union: r"Union\.__init__: nothing is registered for 'clock'",
        }.items():
            with pytest.raises(ConfigurationError, match=says):
                Process(cls)

    asyncio.run(check())


class Optional(Grain):
    def __init__(self, clock: Clock | None = None, rate: float = 2.5, log: Log | None = None) -> None:
        self.rate, self.clock, self.log = rate, clock, log

    async def get(self) -> float:
        assert self.clock is None
        return self.rate


async def test_defaults_apply_where_nothing_is_registered(process: Make) -> None:
    here = process(Optional)
    assert await here.grains.get_grain(Optional, "a").get() == 2.5
    registry = svcs.Registry()
    registry.register_value(float, 7.5)
    there = process(Optional, services=registry)
    assert await there.grains.get_grain(Optional, "a").get() == 7.5


class Connection:
    """A service that must be closed."""


class Holder(Grain):
    def __init__(self, connection: Connection, log: Log) -> None:
        if log.events:
            raise LookupError("the constructor fails")

    async def get(self) -> None:
        self.deactivate_when_idle()


@pytest.mark.parametrize("fails", [False, True])
async def test_services_of_an_activation_are_closed_with_it(process: Make, fails: bool) -> None:
    """Even if the constructor fails after they were made."""
    log, closed = Log(), []
    registry = services(log)

    async def make() -> Any:
        yield Connection()
        closed.append(True)

    registry.register_factory(Connection, make)
    here = process(Holder, services=registry)
    if fails:
        log.events.append("fail")
        with pytest.raises(LookupError):
            await here.grains.get_grain(Holder, "a").get()
    else:
        await here.grains.get_grain(Holder, "a").get()
    await here.tasks.wait()
    assert closed == [True]


def test_a_call_to_an_unknown_grain_names_it() -> None:
    grain_id = GrainId("cart", "a")
    assert isinstance(Refused(Reason.NO_SUCH_GRAIN, "x").error(grain_id), NoSuchGrain)
    assert isinstance(Refused(Reason.NOT_HERE, "x").error(grain_id), SiloUnavailable)
    cause = KeyError("mine")
    assert Refused(Reason.ACTIVATION_FAILED, "x", cause=cause).error(grain_id) is cause
    assert "cart/a was not executed: x" in str(Refused(Reason.EXPIRED, "x").error(grain_id))
