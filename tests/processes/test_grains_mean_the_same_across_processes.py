"""Two silos in processes of their own: what a grain of one gets from a grain of the other is what a near one gives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import pytest

from grange import CallNotExecuted, CallTimeout, NoSuchGrain, placement_hint, request_context
from grange.client import Client, ClientOptions
from tests.processes.crossing import Actor, Broken, Ident, Number, OnGpu, Pair
from tests.processes.silo_process import PATIENCE, SiloProcess, Silos
from tests.processes.versioned import Extra, Version1, Version2

ROADS = pytest.mark.parametrize("road", ["grpc", "tcp"])


@asynccontextmanager
async def two_actors(silos: Silos, road: str) -> AsyncIterator[tuple[Client, Actor, Actor]]:
    """A client of the first silo, and an actor in each of the two."""
    first, second = await started(silos, road, "tests.processes.crossing:silo", "tests.processes.crossing:silo")
    async with client_of(road, first, second) as client:
        actors = client.get_grain(Actor, "one"), client.get_grain(Actor, "two")
        for actor, silo in zip(actors, (first, second), strict=True):
            with placement_hint(silo.address):
                assert await actor.pid() == silo.pid
        yield client, *actors
    for silo in (first, second):
        assert await silo.stop() == 0
        assert "Traceback" not in silo.errors


async def started(silos: Silos, road: str, *apps: str) -> list[SiloProcess]:
    found = [await silos.start("--road", road, app=app) for app in apps]
    await asyncio.gather(*(silo.active() for silo in found))
    return found


@asynccontextmanager
async def client_of(road: str, *running: SiloProcess) -> AsyncIterator[Client]:
    options = ClientOptions(road=road)  # type: ignore[arg-type]
    async with Client([running[0].gateway], options=options, errors=[Broken]) as client:
        async with asyncio.timeout(PATIENCE):
            await client.wait_for([silo.address for silo in running])
        yield client


async def until(actor: Actor, wanted: str) -> None:
    """Wait until the actor has recorded this."""
    async with asyncio.timeout(PATIENCE):
        while wanted not in await actor.seen():
            await asyncio.sleep(0.01)


@ROADS
async def test_names_calls_errors_and_contexts(silos: Silos, road: str) -> None:
    """ACT-02, ACT-04, ACT-05, CAL-01, CAL-02, CAL-05, CAL-08, CAL-10, CAL-11, RCX-01, RCX-02, RCX-04."""
    async with two_actors(silos, road) as (client, one, two):
        for number in (0, -(2**63), 2**64 - 1):
            assert await client.get_grain(Number, number).get() == number
        assert await client.get_grain(Ident, UUID(int=2**100)).get() == UUID(int=2**100)
        pairs = [("a", 1), ("a", 2), ("b", 1)]
        assert [await client.get_grain(Pair, pair).get() for pair in pairs] == pairs
        for caller, other in ((one, "two"), (two, "one")):
            with pytest.raises(Broken) as raised:
                await caller.fail_of(other, "deep")
            assert raised.value.args == ("deep", 7)
            notes = "".join(raised.value.__notes__)
            assert "in fail" in notes
            assert await caller.be_late_of(other) == "CallTimeout"
            assert await caller.change_of(other, ["x"]) == (["x", other], ["x"])
        with pytest.raises(CallTimeout):
            await two.be_late()
        await one.hit_of("two", "hit")
        await until(two, "hit")
        request_context["user"] = "eve"
        assert await one.users("two") == ["eve", "eve", "None"]
        assert await two.user() == "eve"
        del request_context["user"]
        assert await two.user() == "None"


@ROADS
async def test_cancellation_and_streams_between_grains(silos: Silos, road: str) -> None:
    """CAN-06, AEN-07, AEN-17: a cancelled turn cancels its calls; a stream that is left is closed at its origin."""
    async with two_actors(silos, road) as (_, one, two):
        call = asyncio.create_task(one.work_of("two"))
        await until(two, "began")
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await until(two, "cancelled")
        assert await one.first_of("two", 5) == [0, 1, 2, 3, 4]
        await until(two, "closed")
        found: list[int] = []
        async for item in two.stream_of("one"):
            found.append(item)
            if len(found) == 5:
                break
        assert found == [0, 1, 2, 3, 4]
        await until(one, "closed")


async def test_two_chains_that_wait_for_each_other(silos: Silos) -> None:
    """REE-01: a cycle of two independent calls in two processes is refused by name, and both grains live on."""
    async with two_actors(silos, "grpc") as (_, one, two):
        async with asyncio.timeout(PATIENCE):
            answers = await asyncio.gather(one.wait_and_ask("two"), two.wait_and_ask("one"))
        cycles = [answer for answer in answers if " -> " in answer]
        assert cycles
        assert {*cycles[0].split(" -> ")} == {"actor/one", "actor/two"}
        assert await one.pid() != await two.pid()


async def test_expired_calls_and_ticks(silos: Silos) -> None:
    """SCH-05, TMR-03, LIF-22: ten calls expire at their caller; a tick and a one-way call reach the other process."""
    async with two_actors(silos, "grpc") as (_, one, two):
        late = [asyncio.create_task(two.be_late()) for _ in range(10)]
        outcomes = await asyncio.gather(*late, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {CallTimeout}
        assert await two.pid() != await one.pid()
        await one.tick_to("two")
        await until(two, "tick")
        assert (await two.seen()).count("tick") == 1
        before, _, _ = await one.end_of("two")
        assert "tick" not in await two.seen()
        await two.finish()
        await one.hit_of("two", "once")
        await until(two, "once")
        assert (await two.seen()).count("once") == 1
        assert await two.activation() != before


async def test_places_and_lives(silos: Silos) -> None:
    """PLC-01, SWK-07, LIF-03, LIF-10: beside the caller; workers of its silo; a new activation after an end."""
    async with two_actors(silos, "grpc") as (_, one, two):
        pids = [await actor.pid() for actor in (one, two)]
        for actor, pid in zip((one, two), pids, strict=True):
            assert {await actor.beside_pid(f"{actor.key}-{number}") for number in range(10)} == {pid}
            assert {await actor.worker_pid("w") for _ in range(10)} == {pid}
        assert await two.beside_pid("one-0") == pids[0], "it stays where it began"
        before, ended, after = await one.end_of("two")
        assert before == ended != after
        assert await two.activation() == after


async def test_labels_and_the_stop_of_a_silo(silos: Silos) -> None:
    """PLC-02, PLC-06: a required label decides; a grain of a silo that stopped is created on the other one."""
    app = "tests.processes.crossing:silo"
    plain, gpu = await silos.start(app=app), await silos.start(app=app, GRANGE_LABELS='["gpu"]')
    await asyncio.gather(plain.active(), gpu.active())
    async with client_of("grpc", plain, gpu) as client:
        assert {await client.get_grain(OnGpu, f"{number}").pid() for number in range(20)} == {gpu.pid}
        with placement_hint(gpu.address):
            assert await client.get_grain(Actor, "a").beside_pid("b") == gpu.pid
        assert await gpu.stop() == 0
        assert await client.get_grain(Actor, "a").beside_pid("b") == plain.pid
        with pytest.raises(CallNotExecuted):
            await client.get_grain(OnGpu, "0").pid()
    assert await plain.stop() == 0


async def test_versions_and_classes(silos: Silos) -> None:
    """VER-01, VER-05: a caller gets the release that it needs; a class answers while a silo has it."""
    apps = ("tests.processes.versioned:first", "tests.processes.versioned:second")
    first, second = await started(silos, "grpc", *apps)
    async with client_of("grpc", first, second) as client:
        answers = {await client.get_grain(Version1, f"old-{number}").answer() for number in range(30)}
        assert answers == {1, 2}
        for number in range(30):
            assert await client.get_grain(Version2, f"old-{number}").added() == "the new method"
            assert await client.get_grain(Version1, f"old-{number}").answer() == 2
        assert await client.get_grain(Extra, "e").ping() == "pong"
        assert await second.stop() == 0
        async with asyncio.timeout(PATIENCE):
            await client.wait_for([first.address])
        assert await client.get_grain(Version1, "old-0").answer() == 1
        with pytest.raises(CallNotExecuted):
            await client.get_grain(Version2, "old-0").added()
        with pytest.raises(NoSuchGrain):
            await client.get_grain(Extra, "e").ping()
    assert await first.stop() == 0
