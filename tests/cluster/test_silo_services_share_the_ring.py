"""Silo services: every silo runs one object of each, and a call for a key reaches the silo that owns the key."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import svcs

from grange import (
    Call,
    ConfigurationError,
    Grain,
    GrainId,
    NoSuchGrain,
    Proceed,
    SiloService,
    StartupFailed,
    allow_reentrancy,
    cancellable,
    one_way,
    placement_hint,
    request_context,
)
from grange.testing import TestCluster


class Journal(list[str]):
    """What the services did, in order."""


class Counter(SiloService, name="counter"):
    """Counts the calls for each key, in the memory of the silo that owns it."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.counts: dict[str, int] = {}

    async def count(self, key: str, by: int = 1) -> tuple[str, int]:
        assert self.owns(key)
        self.counts[key] = self.counts.get(key, 0) + by
        return self.silo, self.counts[key]

    async def fail(self) -> None:
        raise KeyError("a reason")

    async def context(self) -> str:
        return str(request_context.get("tenant"))

    async def ask(self, key: str = "second") -> bool:
        return await self.get_grain(Asker, key).ready()

    async def on_start(self) -> None:
        self.journal.append(f"{self.silo} starts")
        await self.get_grain(Asker, "first").ready()

    async def on_ranges(self) -> None:
        self.journal.append(f"{self.silo} has {len(self.ranges)} ranges")

    async def on_stop(self) -> None:
        self.journal.append(f"{self.silo} stops")


class Asker(Grain, name="asker"):
    async def ready(self) -> bool:
        return True

    async def count(self, key: str) -> tuple[str, int]:
        return await self.get_service(Counter, key).count(key)

    async def ask_back(self) -> bool:
        with allow_reentrancy():
            return await self.get_service(Counter, "k").ask(self.key)

    async def context(self) -> str:
        request_context["tenant"] = "acme"
        return await self.get_service(Counter, "k").context()


PLACE = GrainId("counter", "k")


def cluster_of(journal: Journal, silos: int, **options: Any) -> TestCluster:
    @asynccontextmanager
    async def services(registry: svcs.Registry) -> AsyncGenerator[None]:
        registry.register_value(Journal, journal)
        yield

    return TestCluster([Asker], silos=silos, silo_services=[Counter], services=services, **options)


async def test_each_key_is_answered_by_the_silo_that_owns_it() -> None:
    """HST-03: a silo service is built with its parameters, started, and reachable from grains and from the silo."""
    journal = Journal()
    async with cluster_of(journal, 3) as cluster:
        names = {silo.name for silo in cluster.silos}
        assert {f"{name} starts" for name in names} <= set(journal)
        owners = {}
        for number in range(60):
            key = f"k{number}"
            answers = [await cluster.get_grain(Asker, f"a{n}").count(key) for n in range(3)]
            answers += [await silo.get_service(Counter, key).count(key) for silo in cluster.silos]
            assert len({owner for owner, _ in answers}) == 1
            assert [count for _, count in answers] == [1, 2, 3, 4, 5, 6]
            owners[key] = answers[0][0]
        assert set(owners.values()) == names


async def test_ranges_follow_the_silos() -> None:
    """HST-03: each service is told of its ranges, and the ranges of all silos cover the ring, also after a change."""
    journal = Journal()
    async with cluster_of(journal, 2) as cluster:
        await cluster.add_silo()
        await cluster.stop(cluster.silos[0])
        await cluster.advance(1)
        assert journal.count("silo-1 stops") == 1
        for number in range(50):
            key = f"k{number}"
            owners = {(await silo.get_service(Counter, key).count(key))[0] for silo in cluster.silos}
            assert len(owners) == 1
            assert owners <= {"silo-2", "silo-3"}
        assert any(line.startswith("silo-2 has") for line in journal)
        await cluster.kill(cluster.silos[0])
        await cluster.advance(30)
        assert (await cluster.silos[0].get_service(Counter, "k1").count("k1"))[0] == "silo-3"


async def test_an_error_arrives_as_itself_and_the_context_travels() -> None:
    """HST-03: near is far: the same error and context from the own silo and from another one."""
    async with cluster_of(Journal(), 2) as cluster:
        for silo in cluster.silos:
            for number in range(6):
                with pytest.raises(KeyError, match="a reason"):
                    await silo.get_service(Counter, f"k{number}").fail()
        assert {await cluster.get_grain(Asker, f"a{n}").context() for n in range(6)} == {"acme"}


@pytest.mark.parametrize("near", [True, False])
async def test_filters_are_around_calls_to_services(near: bool) -> None:
    """FLT-02: outgoing where the call is made, incoming where it runs: they see it, change it, and answer it."""
    seen: list[tuple[str, str, str, str, str]] = []

    async def outgoing(call: Call, proceed: Proceed) -> Any:
        seen.append(("outgoing", str(call.grain_id), call.method, str(call.source), ""))
        return await proceed()

    async def incoming(call: Call, proceed: Proceed) -> Any:
        seen.append(("incoming", str(call.grain_id), call.method, str(call.source), repr(dict(call.arguments))))
        if (call.grain_id.type, call.method) == ("counter", "count"):
            call.replace(by=call.arguments["by"] + 9)
            name, count = await proceed()
            return name, -count
        try:
            return await proceed()
        except KeyError:
            return None

    filters = {"incoming_filters": [incoming], "outgoing_filters": [outgoing]}
    async with cluster_of(Journal(), 2, **filters) as cluster:
        owner = (await cluster.silos[0].get_service(Counter, "k").count("k"))[0]
        silo = next(silo for silo in cluster.silos if (silo.name == owner) == near)
        seen.clear()
        assert await silo.get_service(Counter, "k").count("k", 3) == (owner, -22)
        assert await silo.get_service(Counter, "k").fail() is None  # type: ignore[func-returns-value]
        assert seen == [
            ("outgoing", "counter/k", "count", "None", ""),
            ("incoming", "counter/k", "count", "None", "{'key': 'k', 'by': 3}"),
            ("outgoing", "counter/k", "fail", "None", ""),
            ("incoming", "counter/k", "fail", "None", "{}"),
        ]
        seen.clear()
        with placement_hint(silo.address):
            await cluster.get_grain(Asker, "hinted").count("k")
        assert ("outgoing", "counter/k", "count", "asker/hinted", "") in seen
        seen.clear()
        assert await silo.get_service(Counter, "k").ask()
        assert [each for each in seen if each[1] == "asker/second"] == [
            ("outgoing", "asker/second", "ready", "counter/k", ""),
            ("incoming", "asker/second", "ready", "None", "{}"),
        ]


@pytest.mark.parametrize("near", [True, False])
async def test_a_chain_of_calls_passes_services(near: bool) -> None:
    """REE-06: a service that a grain calls may come back into the grain, if the grain allows it."""
    async with cluster_of(Journal(), 2) as cluster:
        owner = (await cluster.silos[0].get_service(Counter, "k").count("k"))[0]
        silo = next(silo for silo in cluster.silos if (silo.name == owner) == near)
        with placement_hint(silo.address):
            async with asyncio.timeout(1):
                assert await cluster.get_grain(Asker, "back").ask_back()


@pytest.mark.parametrize("near", [True, False])
async def test_a_filter_of_a_service_that_does_not_proceed_is_named(near: bool) -> None:
    """FLT-06: its error is that of the call, as it is around a grain."""

    async def silent(call: Call, proceed: Proceed) -> Any:
        return await proceed() if call.method == "ready" else None

    async with cluster_of(Journal(), 2, incoming_filters=[silent]) as cluster:
        hosts = {silo.name: silo for silo in cluster.silos}
        own = [silo for silo in hosts.values() if silo._running.calls.services._deps.rings.owner(PLACE) == silo.address]
        silo = next(silo for silo in cluster.silos if (silo in own) == near)
        with pytest.raises(RuntimeError, match="neither awaited proceed"):
            await silo.get_service(Counter, "k").count("k")


async def test_a_service_that_no_silo_runs_is_named() -> None:
    """HST-03: a call to a service that no active silo runs fails by name, and a grain is no service."""
    async with TestCluster([Asker], silos=1) as cluster:
        with pytest.raises(NoSuchGrain, match="no active silo runs the service 'counter'"):
            await cluster.silos[0].get_service(Counter, "k").count("k")
        with pytest.raises(ConfigurationError, match="use get_service"):
            cluster.get_grain(Counter, "k")
        with pytest.raises(ConfigurationError, match="not a class derived from SiloService"):
            cluster.silos[0].get_service(Asker, "k")  # type: ignore[type-var]


async def test_a_silo_without_the_service_takes_no_key_of_it() -> None:
    """HST-03: the ring of a service has only the silos that run it."""
    async with cluster_of(Journal(), 1) as cluster:
        other = await cluster.add_silo(silo_services=[])
        for number in range(20):
            owner, _ = await other.get_service(Counter, f"k{number}").count(f"k{number}")
            assert owner == "silo-1"


async def test_a_service_that_does_not_start_stops_the_silo_by_name() -> None:
    """HST-03: an error of `on_start` stops the start, and names the service."""

    class Broken(SiloService, name="broken"):
        async def on_start(self) -> None:
            raise ValueError("no connection")

    with pytest.raises(StartupFailed, match="silo service 'broken' did not start: ValueError: no connection"):
        async with TestCluster([Asker], silos=1, silo_services=[Broken]):
            raise AssertionError("it started")


def test_options_without_effect_are_refused() -> None:
    """HST-03: nothing is ignored in a silo service."""
    with pytest.raises(ConfigurationError, match="@one_way has no effect on a silo service"):

        class Wrong(SiloService, name="wrong"):
            @one_way
            async def send(self) -> None: ...

    with pytest.raises(ConfigurationError, match="@cancellable has no effect on a silo service"):

        class Interrupted(SiloService, name="interrupted"):
            @cancellable
            async def send(self) -> None: ...

    with pytest.raises(ConfigurationError, match=r"Streams\.items: a silo service streams no results"):

        class Streams(SiloService, name="streams"):
            async def items(self) -> AsyncIterator[int]:
                yield 1

    with pytest.raises(ConfigurationError, match=r"Activates: on_activate is a hook of grains; .* on_start, on_ranges"):

        class Activates(SiloService, name="activates"):
            async def on_activate(self) -> None: ...

    with pytest.raises(ConfigurationError, match="on_range is almost the hook on_ranges"):

        class Range(SiloService, name="range"):
            async def on_range(self) -> None: ...

    with pytest.raises(ConfigurationError, match=r"placement= has no effect on a silo service; it has errors=, key="):

        class Placed(SiloService, name="placed", placement="ring"):  # type: ignore[call-arg]
            pass

    with pytest.raises(ConfigurationError, match="ranges is a name of SiloService"):

        class Hidden(SiloService, name="hidden"):
            async def ranges(self) -> None: ...  # type: ignore[override]


SHARDS = [f"shard-{number}" for number in range(20)]


class Shards(SiloService, name="shards"):
    """Runs one task for each shard that its silo owns."""

    def __init__(self, running: Running) -> None:
        self.all = running
        self.mine: dict[str, asyncio.Task[None]] = {}

    async def on_ranges(self) -> None:
        for shard in SHARDS:
            if self.owns(shard) and shard not in self.mine:
                self.mine[shard] = asyncio.create_task(self._run(shard))
            elif not self.owns(shard) and (task := self.mine.pop(shard, None)) is not None:
                task.cancel()

    async def on_stop(self) -> None:
        for task in self.mine.values():
            task.cancel()
        await asyncio.wait(self.mine.values())

    async def _run(self, shard: str) -> None:
        self.all.append(f"{shard} {self.silo}")
        try:
            await asyncio.Event().wait()
        finally:
            self.all.remove(f"{shard} {self.silo}")


class Running(list[str]):
    """The shards that run now, each with its silo."""


async def test_each_of_n_ids_runs_on_one_silo() -> None:
    """EXT-07: also after silos have joined and left."""
    running = Running()
    registry = svcs.Registry()
    registry.register_value(Running, running)
    async with TestCluster([Asker], silos=2, silo_services=[Shards], services=registry) as cluster:
        for step in ("two", "three", "one fewer"):
            await cluster.advance(1)
            assert sorted(line.split()[0] for line in running) == sorted(SHARDS), step
            if step == "two":
                await cluster.add_silo()
            elif step == "three":
                await cluster.stop(cluster.silos[0])
        assert {line.split()[1] for line in running} == {silo.name for silo in cluster.silos}
        while cluster.silos:
            await cluster.stop(cluster.silos[0])
        assert running == []
