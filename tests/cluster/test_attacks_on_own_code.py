"""Attacks on silo services: calls when a silo ends, and changes of the ranges while a service stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest
import svcs

from grange import CallOutcomeUnknown, Grain, SiloService, StartupFailed
from grange.proto.message import Reason
from grange.proto.service_calls import ServiceCall
from grange.testing import TestCluster


class Idle(Grain, name="idle_of_attack"):
    async def ping(self) -> None: ...


class Slow(SiloService, name="slow_service"):
    async def wait(self) -> None:
        await asyncio.sleep(1000)


async def test_a_call_that_a_killed_silo_ran_has_an_unknown_outcome() -> None:
    """Its caller was not cancelled, so it must not see a cancellation."""
    async with TestCluster([Idle], silos=1, silo_services=[Slow]) as cluster:
        silo = cluster.silos[0]
        calling = asyncio.create_task(silo.get_service(Slow, "k").wait())
        await cluster.advance(1)
        await cluster.kill(silo)
        (outcome,) = await asyncio.gather(calling, return_exceptions=True)
        assert isinstance(outcome, CallOutcomeUnknown), repr(outcome)


class Connection:
    """What a service has open."""


class Holding(SiloService, name="holding_service"):
    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    async def wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Failing(SiloService, name="failing_service"):
    async def on_start(self) -> None:
        raise KeyError("a reason")


@pytest.mark.parametrize("end", ["stop", "late stop", "kill", "failed start"])
async def test_what_a_service_has_open_is_closed_with_its_silo(end: str) -> None:
    """Also if its silo is killed, does not start, or must not wait any longer; then a service may see an error."""
    log: list[str] = []

    async def connect() -> AsyncGenerator[Connection]:
        log.append("opened")
        try:
            yield Connection()
            log.append("committed")
        finally:
            log.append("closed")

    registry = svcs.Registry()
    registry.register_factory(Connection, connect, suppress_context_exit=False)
    cluster = TestCluster([Idle], silos=1, silo_services=[Holding], services=registry)
    async with cluster:
        silo = cluster.silos[0]
        if end == "failed start":
            with pytest.raises(StartupFailed):
                await cluster.add_silo(silo_services=[Holding, Failing])
            assert log == ["opened", "opened", "committed", "closed"]
            return
        waiting = asyncio.create_task(silo.get_service(Holding, "k").wait(1000 if end == "late stop" else 1))
        await cluster.advance(0.1)
        await (cluster.kill if end == "kill" else cluster.stop)(silo)
        await asyncio.wait([waiting])
        assert log == (["opened", "committed", "closed"] if end == "stop" else ["opened", "closed"])


class Ranged(SiloService, name="ranged_service"):
    """Records its hooks. It takes a while to give up its ranges."""

    hooks: list[str] = []

    async def on_ranges(self) -> None:
        if not self.ranges:
            Ranged.hooks.append("gives up")
            await asyncio.sleep(5)
            Ranged.hooks.append("has given up")

    async def on_stop(self) -> None:
        Ranged.hooks.append("stops")


async def test_a_service_stops_after_it_was_told_of_its_ranges() -> None:
    """`on_stop` is its last hook, and runs beside no other one."""
    Ranged.hooks.clear()
    async with TestCluster([Idle], silos=2, silo_services=[Ranged]) as cluster:
        await cluster.stop(cluster.silos[0])
        await cluster.advance(10)
        assert Ranged.hooks == ["gives up", "has given up", "stops"]


class Near(SiloService, name="near_service"):
    async def where(self) -> str:
        return self.silo


async def test_a_silo_refuses_calls_for_keys_of_others_and_while_it_is_fenced() -> None:
    """Its peer has an older view, or does not know yet that this silo has lost its membership."""
    async with TestCluster([Idle], silos=2, silo_services=[Near]) as cluster:
        answers = {}
        for silo in cluster.silos:
            hosted = silo._running.calls.hosted_services._hosted["near_service"]
            answers[silo.name] = await hosted.answer(ServiceCall("k", "where", b"\x90", b""))
        owner = await cluster.silos[0].get_service(Near, "k").where()
        assert answers[owner].reason is None
        (refused,) = (answer for name, answer in answers.items() if name != owner)
        assert refused.reason is Reason.NOT_HERE
        silo = next(silo for silo in cluster.silos if silo.name == owner)
        hosted = silo._running.calls.hosted_services._hosted["near_service"]
        silo.catalog.deps.gate.fence("a test")
        assert (await hosted.answer(ServiceCall("k", "where", b"\x90", b""))).reason is Reason.NOT_READY
