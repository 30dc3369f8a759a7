"""A planned stop as other processes see it: its progress, its order, and the end of turns that take too long."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

import msgspec
import pytest

from grange import CallOutcomeUnknown, ConfigurationError, Grain, PersistentState, SiloStopped, always_interleave
from grange.cli.drain import DrainCommand, member_named
from grange.client.client import Client
from grange.grains.deactivation import DeactivationReason
from grange.membership.model.member import SiloStatus
from grange.proto.acts import ACT, Act, Action
from grange.proto.ids import SiloAddress
from grange.proto.management import DRAIN, DrainState, Phase
from grange.silo.silo import Silo, run_until
from grange.testing import TestCluster


@dataclass
class Total:
    total: int = 0


class Busy(Grain):
    async def work(self, seconds: float) -> str:
        await asyncio.sleep(seconds)
        return str(self._grange.owner.deps.address)  # type: ignore[attr-defined]


class Stored(Grain):
    """Writes its state when it deactivates."""

    def __init__(self, state: PersistentState[Total]) -> None:
        self.state = state

    async def add(self) -> int:
        self.state.value.total += 1
        return self.state.value.total

    async def on_deactivate(self, reason: DeactivationReason) -> None:
        await self.state.write()


def gateway_of(silo: Silo) -> SiloAddress:
    return SiloAddress("127.0.0.1", int(silo.gateway.rpartition(":")[2]), silo.address.generation)


async def asked(client: Client, silo: Silo, begin: bool) -> DrainState:
    """Drain a silo, or only ask for its progress, through its gateway."""
    if begin:
        act = Act(Action.DRAIN, reason="a test")
        await client.ask(gateway_of(silo), ACT, msgspec.msgpack.encode(act))
    return msgspec.msgpack.decode(await client.ask(gateway_of(silo), DRAIN), type=DrainState)


async def test_a_drain_reports_its_progress() -> None:
    """It begins once, when management requests it. It reports its phase and the activations and requests left."""
    async with TestCluster([Busy], silos=2) as cluster:
        silo = cluster.silos[0]
        assert (await asked(cluster.client, silo, begin=False)).phase is Phase.SERVING
        assert silo.management.state().ready
        call = asyncio.create_task(silo.get_grain(Busy, "a").work(5))
        while (where := cluster.where(silo.get_grain(Busy, "a"))) is None:
            await cluster.advance(0.1)
        for _ in range(2):
            await asked(cluster.client, where, begin=True)
        await cluster.advance(1)
        state = await asked(cluster.client, where, begin=False)
        assert (state.phase, state.activations) == (Phase.MOVING, 1)
        assert 0 < state.seconds < 5
        assert not where.management.state().ready
        assert await run_until(where, asyncio.Event()) is None
        cluster.silos.remove(where)
        await where.stop()
        assert await call == str(where.address)
        await cluster.stable()
        assert cluster.silos[0].view.get(where.address).status is SiloStatus.DEAD  # type: ignore[union-attr]


async def test_at_most_a_hundred_activations_end_at_a_time() -> None:
    """F3: each activation stores its state and loses no addition. Neither the store nor the directory is flooded."""
    async with TestCluster([Stored], silos=2) as cluster:
        silo = cluster.silos[0]
        grains = [cluster.get_grain(Stored, number) for number in map(str, range(1000))]
        await asyncio.gather(*(grain.add() for grain in grains))
        loop = asyncio.get_running_loop()
        began = loop.time()
        stop = asyncio.create_task(cluster.stop(silo))
        most = 0
        while not stop.done():
            ending = [each for each in silo.catalog.activations() if each.phase.name == "ENDING"]
            most = max(most, len(ending))
            await asyncio.sleep(0)
        assert loop.time() - began < 30
        assert 0 < most <= 100
        assert await asyncio.gather(*(grain.add() for grain in grains)) == [2] * len(grains)


async def test_a_call_refused_by_a_leaving_silo_gets_a_hint_of_another_silo() -> None:
    """With the hint, the caller retries at once, even if its view of the cluster is old."""
    async with TestCluster([Busy], silos=2) as cluster:
        silo, other = cluster.silos
        hold = asyncio.create_task(silo.get_grain(Busy, "long").work(3))
        await hold
        silo._running.ask_to_stop()
        await silo._running.cluster.agent.wait_for(lambda view: view.get(silo.address).status is SiloStatus.LEAVING)  # type: ignore[union-attr]
        while silo.catalog.is_open:
            await asyncio.sleep(0)
        from_silo = silo.get_grain(Busy, "new")
        assert silo.catalog.next_silo(from_silo.id) == other.address  # type: ignore[attr-defined]
        cluster.silos.remove(silo)
        await silo.stop()


class Ping(Grain, reentrant=True):
    async def ask(self) -> str:
        await asyncio.sleep(1)
        return await self.get_grain(Pong, self.key).ask_back()

    async def back(self) -> str:
        return "back"


class Pong(Grain):
    async def ask_back(self) -> str:
        return await self.get_grain(Ping, self.key).back()


async def test_a_call_that_comes_back_to_its_grain_completes_while_the_silo_stops() -> None:
    """The first turn waits for the second, which may interleave. Neither may delay the drain."""
    async with TestCluster([Ping, Pong], silos=2) as cluster:
        grain = cluster.get_grain(Ping, "a")
        call = asyncio.create_task(grain.ask())
        await cluster.advance(0.5)
        silo = cluster.where(grain)
        assert silo is not None
        loop = asyncio.get_running_loop()
        began = loop.time()
        await cluster.stop(silo)
        assert await call == "back"
        assert loop.time() - began < 5


class Popular(Grain):
    @always_interleave
    async def visit(self) -> None:
        await asyncio.sleep(0.05)


async def test_a_steady_load_of_interleaving_calls_does_not_delay_a_drain() -> None:
    """New calls that interleave with the last turns would keep the drain from ending before its time-out."""
    async with TestCluster([Popular], silos=2) as cluster:
        grain = cluster.get_grain(Popular, "a")
        ended = asyncio.Event()

        async def visit(pause: float) -> None:
            await asyncio.sleep(pause)
            while not ended.is_set():
                await grain.visit()

        async with asyncio.TaskGroup() as group:
            for number in range(20):
                group.create_task(visit(number * 0.0025))
            await cluster.advance(1)
            silo = cluster.where(grain)
            assert silo is not None
            loop = asyncio.get_running_loop()
            began = loop.time()
            await cluster.stop(silo)
            assert loop.time() - began < 5
            ended.set()


async def test_a_turn_that_outlasts_the_drain_is_cancelled_and_its_caller_gets_an_error_at_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The client and another silo get a typed outcome that names the cause, and not a time-out."""
    async with TestCluster([Busy], silos=2, drain_timeout=2) as cluster:
        grain = cluster.get_grain(Busy, "a")
        call = asyncio.create_task(grain.work(1000))
        await cluster.advance(0.5)
        silo = cluster.where(grain)
        assert silo is not None
        (other,) = [each for each in cluster.silos if each is not silo]
        second = asyncio.create_task(other.get_grain(Busy, "a").work(1000))
        loop = asyncio.get_running_loop()
        began = loop.time()
        await asyncio.sleep(0.1)
        stop = asyncio.create_task(cluster.stop(silo))
        with caplog.at_level(logging.WARNING), pytest.raises(SiloStopped, match=r"stopped while it ran busy/a\.work"):
            await call
        assert issubclass(SiloStopped, CallOutcomeUnknown)
        assert 2 <= loop.time() - began < 2.5
        await stop
        (warning,) = [each for each in caplog.records if getattr(each, "event", "") == "drain_timeout"]
        assert "moving did not end within 2 s; 1 activation and" in warning.message
        second.cancel()  # it waited behind the first, so it runs on the other silo
        assert cluster.where(grain) is other


async def test_a_call_that_a_gateway_forwarded_ends_as_one_that_was_sent_directly() -> None:
    """The gateway reports to its client that the other silo stopped, not only that the connection was lost."""
    async with TestCluster([Busy], silos=2, drain_timeout=2) as cluster:
        silo, other = cluster.silos
        key = "0"
        while await cluster.get_grain(Busy, key).work(0) != str(silo.address):
            key += "0"
        cluster.network.partition("client", silo.gateway)
        call = asyncio.create_task(cluster.get_grain(Busy, key).work(1000))
        while not any(each.running for each in silo.catalog.activations()):
            await cluster.advance(0.1)
        assert other._running.hosting.client_inbound.in_progress == 1
        stop = asyncio.create_task(cluster.stop(silo))
        with pytest.raises(SiloStopped, match=f"silo {silo.address} stopped"):
            await call
        await stop


async def test_a_gateway_that_stops_ends_the_calls_that_it_forwarded_in_time() -> None:
    """The call goes on running on the other silo. Its caller gets an error, because no answer will reach it."""
    async with TestCluster([Busy], silos=2, drain_timeout=2) as cluster:
        silo, other = cluster.silos
        key = "0"
        while await cluster.get_grain(Busy, key).work(0) != str(other.address):
            key += "0"
        cluster.network.partition("client", other.gateway)
        call = asyncio.create_task(cluster.get_grain(Busy, key).work(10))
        while not any(each.running for each in other.catalog.activations()):
            await cluster.advance(0.1)
        stop = asyncio.create_task(cluster.stop(silo))
        with pytest.raises(SiloStopped, match="stopped while it relayed the call"):
            await call
        cluster.heal()
        await stop


async def test_a_silo_is_drained_by_name_and_watched_until_it_has_stopped() -> None:
    """The work of `grange drain`, for any client, including the last silo of a cluster."""
    async with TestCluster([Busy], silos=3) as cluster:
        await asyncio.gather(*(cluster.get_grain(Busy, str(number)).work(0) for number in range(30)))
        transport = cluster.new_transport("shell")
        async with Client(
            [silo.gateway for silo in cluster.silos], transport=transport, token=cluster.admin_token
        ) as client:
            for left in (2, 1, 0):
                silo = cluster.silos.pop(0)
                draining = DrainCommand(client.ask, client.view, f"silo-{3 - left}", "a test", False)
                await draining.run(60)
                facts = draining.facts()
                assert (facts["outcome"], facts["phase"]) == ("drained", "stopped")
                assert facts["address"] == str(silo.address)
                assert "is gone after" in draining.text()
                await silo.stop()
                if left:
                    await cluster.advance(6)  # longer than the client's refresh period
                    again = DrainCommand(client.ask, client.view, str(silo.address), "a test", False)
                    await again.run(60)
                    assert again.facts()["outcome"] == "dead before"


async def test_a_drain_can_be_started_without_waiting_and_joined_later() -> None:
    async with TestCluster([Busy], silos=2) as cluster:
        silo = cluster.silos[0]
        key = "0"
        while await cluster.get_grain(Busy, key).work(0) != str(silo.address):
            key += "0"
        call = asyncio.create_task(cluster.get_grain(Busy, key).work(10))
        await cluster.advance(0.1)
        started = DrainCommand(cluster.client.ask, cluster.client.view, silo.gateway, "a test", False)
        await started.run(None)
        assert started.facts()["outcome"] == "started"
        await cluster.advance(6)  # the client's view shows it leaving by now
        late = DrainCommand(cluster.client.ask, cluster.client.view, "silo-1", "a test", False)
        await late.run(1)
        assert not late.done
        assert late.facts()["was_leaving"]
        assert "still drains after 1.0 s" in late.text()
        await late.run(60)
        assert late.facts()["outcome"] == "drained"
        assert await call == str(silo.address)
        cluster.silos.remove(silo)
        await silo.stop()


async def test_an_unknown_silo_name_is_refused_with_the_known_names() -> None:
    async with TestCluster([Busy], silos=2) as cluster:
        view = cluster.client.view
        with pytest.raises(
            ConfigurationError, match=r"no silo is named 'apple': silo-1 \(127.*; silo-2 \(127"
        ) as caught:
            member_named(view, "apple")
        assert str(cluster.silos[1].address) in str(caught.value)
        twins = msgspec.structs.replace(
            view, members=tuple(msgspec.structs.replace(member, name="twin") for member in view.members)
        )
        with pytest.raises(ConfigurationError, match="'twin' names 2 silos"):
            member_named(twins, "twin")
        for text in (
            "silo-2",
            cluster.silos[1].gateway,
            cluster.silos[1].address.endpoint,
            str(cluster.silos[1].address),
        ):
            assert member_named(view, text).address == cluster.silos[1].address
