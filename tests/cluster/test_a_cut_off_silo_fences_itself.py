"""A silo that may have been declared dead starts no turns: after cuts, and without the membership table."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

import pytest

from grange import CallNotExecuted, Grain, SiloUnavailable
from grange.errors import DeclaredDead, MembershipUnavailable, SelfFenced
from grange.membership.model.member import Member, SiloStatus
from grange.membership.model.options import MembershipOptions
from grange.membership.model.provider import MembershipTable, Row, Table, TableVersion
from grange.proto.ids import SiloAddress
from grange.silo import Silo
from grange.testing import TestCluster

OPTIONS = MembershipOptions()
WAIT_LIMIT = 120.0
"""Virtual seconds after which a wait of a test fails."""
FENCE_TIME = 3.0
"""Seconds after which a silo that is cut off starts no turns, as the design promises."""


class Turn(Grain[str], name="turn"):
    async def take(self) -> str:
        return self.key


class TableLink:
    """One silo's connection to the table, which can be cut."""

    def __init__(self, table: MembershipTable) -> None:
        self._table = table
        self.cut = False

    def _check(self) -> None:
        if self.cut:
            raise MembershipUnavailable("the connection to the table is cut")

    async def read(self) -> Table:
        self._check()
        return await self._table.read()

    async def insert(self, member: Member, version: TableVersion) -> bool:
        self._check()
        return await self._table.insert(member, version)

    async def update(self, member: Member, etag: str, version: TableVersion) -> bool:
        self._check()
        return await self._table.update(member, etag, version)

    async def alive(self, address: SiloAddress, time: datetime) -> bool:
        self._check()
        return await self._table.alive(address, time)

    async def rebuild(self, members: Sequence[Member], seen: TableVersion, number: int) -> bool:
        self._check()
        return await self._table.rebuild(members, seen, number)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._table, name)


class Cluster(TestCluster):
    """A cluster in which each silo has its own connection to the table."""

    def __init__(self, silos: int, **options: Any) -> None:
        super().__init__([Turn], silos=silos, **options)
        self.links: dict[SiloAddress, TableLink] = {}
        self.shared = self.table

    async def _start_silo(self, options: dict[str, Any], definition: Any = None) -> Silo:
        link = self.table = TableLink(self.shared)
        silo = await super()._start_silo(options, definition)
        self.links[silo.address] = link
        return silo

    def isolate(self, silo: Silo, *others: Silo, table: bool = True) -> None:
        """Cut a silo off from these silos, and with `table` also from the table."""
        for other in others:
            self.partition(silo, other)
        self.links[silo.address].cut = table

    def table_away(self, away: bool = True) -> None:
        for link in self.links.values():
            link.cut = away

    async def row(self, silo: Silo) -> Row:
        row = (await self.shared.read()).get(silo.address)
        assert row is not None
        return row


def now() -> float:
    return asyncio.get_running_loop().time()


def is_closed(silo: Silo) -> bool:
    return silo.catalog.deps.gate.closed


async def fenced(silo: Silo) -> float:
    """Wait until this silo starts no turns. Returns the time."""
    async with asyncio.timeout(WAIT_LIMIT):
        while not is_closed(silo):
            await asyncio.sleep(0.01)
    return now()


async def dead(cluster: Cluster, silo: Silo) -> float:
    """Wait until the table shows this silo as dead. Returns the time."""
    async with asyncio.timeout(WAIT_LIMIT):
        while (await cluster.row(silo)).member.status is not SiloStatus.DEAD:
            await asyncio.sleep(0.01)
    return now()


@pytest.mark.parametrize("count", [2, 3, 5])
@pytest.mark.parametrize("seed", range(3))
async def test_a_silo_that_is_cut_off_stops_before_it_is_declared_dead(count: int, seed: int) -> None:
    """F9: within 3 s of the cut. When the cut is healed, the silo learns that it must end."""
    async with Cluster(count, seed=seed) as cluster:
        lost, *rest = cluster.silos
        await cluster.advance(20 + seed * 0.37)
        cut = now()
        cluster.isolate(lost, *rest)
        ended = asyncio.create_task(lost.declared_dead())
        stopped, died = await asyncio.gather(fenced(lost), dead(cluster, lost))
        assert stopped - cut <= FENCE_TIME
        assert stopped < died
        assert died - cut <= 8
        with pytest.raises(SiloUnavailable, match="not executed"):
            await lost.get_grain(Turn, "a").take()
        cluster.heal()
        cluster.links[lost.address].cut = False
        healed = now()
        assert isinstance(await ended, DeclaredDead)
        assert now() - healed <= 1
        assert is_closed(lost)
        await cluster.kill(lost)


async def test_the_smaller_side_stops_even_if_its_silos_reach_each_other() -> None:
    """AB | CDE and the table: probes between A and B are no proof of membership."""
    async with Cluster(5, seed=3) as cluster:
        few, many = cluster.silos[:2], cluster.silos[2:]
        await cluster.advance(20)
        cut = now()
        for silo in few:
            cluster.isolate(silo, *many)
        for silo in few:
            assert await fenced(silo) - cut <= FENCE_TIME
            assert (await cluster.row(silo)).member.status is SiloStatus.ACTIVE
        await cluster.advance(20)
        assert not any(is_closed(silo) for silo in many)
        for silo in few:
            assert is_closed(silo)
            await cluster.kill(silo)


@pytest.mark.parametrize("outwards", [True, False])
async def test_one_direction_is_enough_to_be_cut_off(outwards: bool) -> None:
    """The silo gets the probes of others, which never get its answers, or the other way round.

    A probe says whether the one before it was answered. So with its answers lost, the last probe that proves contact
    comes up to one probe interval after the cut.
    """
    async with Cluster(3, seed=1) as cluster:
        lost, *rest = cluster.silos
        await cluster.advance(20)
        cut = now()
        cluster.links[lost.address].cut = True
        for other in rest:
            cluster.partition(*((lost, other) if outwards else (other, lost)), one_way=True)
        stopped, died = await asyncio.gather(fenced(lost), dead(cluster, lost))
        assert stopped - cut <= FENCE_TIME + outwards * MembershipOptions().probe_interval
        assert stopped < died
        assert died - cut <= 12
        await cluster.kill(lost)


async def test_a_silo_that_reaches_only_the_table_reads_its_death_at_once() -> None:
    """F13: it reaches the table and no other silo. It stops at most 0.5 s after it was declared dead."""
    async with Cluster(3, seed=2) as cluster:
        lost, *rest = cluster.silos
        await cluster.advance(20)
        cluster.isolate(lost, *rest, table=False)
        died, stopped = await asyncio.gather(dead(cluster, lost), fenced(lost))
        assert stopped - died <= 0.5
        assert isinstance(await lost.declared_dead(), DeclaredDead)
        await cluster.kill(lost)


async def test_a_silo_that_cannot_reach_the_table_keeps_serving() -> None:
    """F12: all others reach it, so it keeps serving and is not declared dead. No silo has to be restarted."""
    async with Cluster(3) as cluster:
        lost = cluster.silos[0]
        cluster.links[lost.address].cut = True
        for number in range(60):
            await cluster.advance(1)
            assert not is_closed(lost)
            assert await lost.get_grain(Turn, str(number)).take() == str(number)
        cluster.links[lost.address].cut = False
        await cluster.add_silo()
        assert (await cluster.row(lost)).member.status is SiloStatus.ACTIVE


async def test_without_the_table_the_cluster_keeps_serving() -> None:
    """R8, F17: ten minutes without a table, and no turn is refused."""
    async with Cluster(3) as cluster:
        cluster.table_away()
        for number in range(300):
            await cluster.advance(2)
            assert not any(is_closed(silo) for silo in cluster.silos)
            assert await cluster.get_grain(Turn, str(number)).take() == str(number)
        cluster.table_away(False)


async def test_without_the_table_a_crash_stops_no_other_silo() -> None:
    async with Cluster(3) as cluster:
        await cluster.advance(20)
        cluster.table_away()
        await cluster.kill(cluster.silos[-1])
        for _ in range(200):
            await cluster.advance(0.3)
            assert not any(is_closed(silo) for silo in cluster.silos)
        cluster.table_away(False)


async def test_a_silo_that_stays_cut_off_ends() -> None:
    async with Cluster(2, membership_options={"fence_limit": 60.0}) as cluster:
        lost, other = cluster.silos
        await cluster.advance(20)
        cluster.isolate(lost, other)
        await fenced(lost)
        began = now()
        assert isinstance(await lost.declared_dead(), SelfFenced)
        assert now() - began == pytest.approx(60, abs=1)
        await cluster.kill(lost)


async def test_calls_to_a_cut_off_silo_are_executed_by_other_silos() -> None:
    """Waiting and new calls are refused as not executed, so their callers repeat them on another silo."""
    async with Cluster(3, seed=4) as cluster:
        lost, *rest = cluster.silos
        keys = [str(number) for number in range(60)]
        for key in keys:
            await cluster.get_grain(Turn, key).take()
        cluster.isolate(lost, *rest)
        await fenced(lost)
        answers = await asyncio.gather(*(rest[0].get_grain(Turn, key).take() for key in keys), return_exceptions=True)
        await dead(cluster, lost)
        with suppress(SiloUnavailable):
            await lost.get_grain(Turn, "x").take()
        assert [await rest[1].get_grain(Turn, key).take() for key in keys] == keys
        assert not [each for each in answers if isinstance(each, AssertionError)]
        await cluster.kill(lost)


async def test_a_grain_begins_elsewhere_only_when_its_silo_runs_no_more_turns() -> None:
    """EXT-03: no lease is needed. Calls are repeated until then, and what the lost silo hosted has stopped at once."""
    async with Cluster(3, seed=5) as cluster:
        lost, *rest = cluster.silos
        keys = [f"{number}" for number in range(60)]
        for key in keys:
            await cluster.get_grain(Turn, key).take()
        lost_keys = {activation.grain_id.key for activation in lost.catalog.activations()}
        assert lost_keys
        cluster.isolate(lost, *rest)
        calls = [asyncio.create_task(_repeated(rest[0], key)) for key in lost_keys]
        while not is_closed(lost):
            await asyncio.sleep(0.01)
            found = {activation.grain_id.key for silo in rest for activation in silo.catalog.activations()}
            assert not found & lost_keys
        for key in lost_keys:
            with pytest.raises(SiloUnavailable):
                await lost.get_grain(Turn, key).take()
        async with asyncio.timeout(30):
            assert {*await asyncio.gather(*calls)} == lost_keys
        await cluster.kill(lost)


async def _repeated(silo: Silo, key: str) -> str:
    """The answer of a grain; the call is repeated as long as it was certainly not executed."""
    while True:
        with suppress(CallNotExecuted):
            return await silo.get_grain(Turn, key).take()
        await asyncio.sleep(0.1)
