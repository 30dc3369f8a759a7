"""Joins, leaves and views of several agents on one table, in virtual time."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta

import pytest

from grange.errors import DeclaredDead, JoinFailed
from grange.membership.agent import MembershipAgent
from grange.membership.detection.deps import MembershipDeps
from grange.membership.detection.liveness import Liveness
from grange.membership.model.member import SiloStatus
from grange.membership.model.options import MembershipOptions
from tests.membership.cluster import START, address, cluster, member

JOINING, ACTIVE, LEAVING, DEAD = SiloStatus


def statuses(silo) -> list[SiloStatus]:
    """The statuses of another silo in a silo's own views, without repeats."""
    seen: list[SiloStatus] = []
    for view in silo.views:
        own = view.get(silo.address)
        if own and (not seen or seen[-1] is not own.status):
            seen.append(own.status)
    return seen


async def test_a_silo_goes_from_joining_to_dead():
    """MEM-01: joining, active; a graceful stop: leaving, then dead."""
    async with cluster() as c:
        silo = await c.join(0)
        assert statuses(silo) == [JOINING, ACTIVE]
        await silo.agent.leave()
        assert await c.status(silo.address) is LEAVING
        await silo.agent.stop()
        assert statuses(silo) == [JOINING, ACTIVE, LEAVING, DEAD]


async def test_an_ungraceful_stop_writes_the_death_at_once():
    """MEM-01: the silo does not leave first."""
    async with cluster() as c:
        silo = await c.join(0)
        await silo.agent.stop()
        assert statuses(silo) == [JOINING, ACTIVE, DEAD]


async def test_other_silos_learn_of_a_join_and_a_leave_without_waiting_for_a_refresh():
    """Gossip delivers the view while no virtual time passes."""
    async with cluster() as c:
        first, second = await c.joined(2)
        now = c.time.time()
        await second.agent.leave()
        assert first.agent.view.get(second.address).status is LEAVING
        await second.agent.stop()
        assert first.agent.view.get(second.address).status is DEAD
        assert c.time.time() == now
        assert [view.version for view in first.views] == sorted({view.version for view in first.views})


async def test_a_restart_kills_its_predecessor():
    """MEM-02: same endpoint, higher generation: the old row is DEAD before the new row exists."""
    async with cluster() as c:
        old = await c.join(0)
        await old.crash()
        new = await c.join(0, generation=2)
        assert await c.status(old.address) is DEAD
        assert await c.status(new.address) is ACTIVE
        inserted = next(view for view in new.views if view.get(new.address))
        assert inserted.get(old.address).status is DEAD


async def test_a_predecessor_that_still_runs_must_end():
    """MEM-04: the announcement of the new generation tells it."""
    async with cluster() as c:
        old = await c.join(0)
        now = c.time.time()
        await c.join(0, generation=2)
        assert isinstance(await old.fatal, DeclaredDead)
        assert c.time.time() == now


async def test_a_silo_does_not_join_over_a_newer_generation():
    """MEM-03: the newer generation has the endpoint."""
    async with cluster() as c:
        await c.join(0, generation=2)
        late = c.make(0, generation=1)
        await late.start()
        before = await c.table.read()
        with pytest.raises(JoinFailed, match="started later at the same endpoint"):
            await late.agent.join()
        assert await c.table.read() == before


async def test_a_silo_whose_row_is_dead_does_not_join():
    """MEM-03: the row was declared dead before the join."""
    async with cluster() as c:
        await c.table.insert(member(address(0), DEAD), (await c.table.read()).version)
        silo = c.make(0)
        await silo.start()
        with pytest.raises(JoinFailed, match="declared dead"):
            await silo.agent.join()


async def test_a_joining_silo_reaches_every_active_one_first():
    """MEM-14: it stays JOINING while one active silo does not answer, and fails with a message that names that silo."""
    async with cluster() as c:
        first, second = await c.joined(2)
        late = c.make(2)
        c.network.refused.add((late.address, second.address))
        await late.start()
        joining = asyncio.ensure_future(late.agent.join())
        await asyncio.sleep(60)
        assert await c.status(late.address) is JOINING
        assert await c.status(second.address) is ACTIVE
        with pytest.raises(JoinFailed, match=str(second.address)):
            await joining
        assert await c.status(first.address) is ACTIVE


async def test_a_joining_silo_goes_on_when_the_connection_is_restored():
    """MEM-14: the silo tries until the join time-out."""
    async with cluster() as c:
        _, second = await c.joined(2)
        late = c.make(2)
        c.network.refused.add((late.address, second.address))
        await late.start()
        joining = asyncio.ensure_future(late.agent.join())
        await asyncio.sleep(30)
        c.network.refused.clear()
        await joining
        assert await c.status(late.address) is ACTIVE


@pytest.mark.parametrize("one_way", [False, True])
async def test_a_joining_silo_that_an_active_one_cannot_reach_stays_out(one_way):
    """I7: a silo reached in one direction only stays JOINING, even if others reach it; the error names the silo."""
    async with cluster() as c:
        first, second = await c.joined(2)
        late = c.make(2)
        c.network.cut(second.address, late.address, one_way=one_way)
        await late.start()
        with pytest.raises(JoinFailed, match=str(second.address)):
            await late.agent.join()
        assert [await c.status(silo.address) for silo in (first, second)] == [ACTIVE, ACTIVE]
        assert ACTIVE not in statuses(late)


async def test_a_joining_silo_that_no_silo_can_reach_learns_it():
    """ADR 0016: it is declared dead within seconds, and its error names the silos that could not reach it."""
    async with cluster() as c:
        silos = await c.joined(2)
        late = c.make(2)
        for silo in silos:
            c.network.refused.add((silo.address, late.address))
        await late.start()
        began = c.time.time()
        with pytest.raises(DeclaredDead, match="by the votes of"):
            await late.agent.join()
        assert c.time.time() - began <= 8


async def test_a_cold_start_votes_out_killed_silos(caplog):
    """MEM-14, F31: ACTIVE rows of killed processes at other endpoints are voted out once they are stale.

    This takes ten seconds at most, and the log tells the operator what the start waits for.
    """
    async with cluster() as c:
        gone = await c.joined(3)
        for silo in gone:
            await silo.crash()
        began = c.time.time()
        late = await c.join(9)
        assert [row.address for row in late.agent.view.active] == [late.address]
        assert c.time.time() - began <= 10
        said = [each.getMessage() for each in caplog.records if "waits for" in each.getMessage()]
        assert len(said) == 1
        assert all(str(silo.address) in said[0] for silo in gone)
        assert "has shown no sign of life for 8 s" in said[0]


async def test_silos_that_join_at_once_all_become_active():
    """F31: the silos compete for one table; each change is tried again until it succeeds."""
    async with cluster() as c:
        silos = [c.make(number) for number in range(8)]
        await asyncio.gather(*(silo.start() for silo in silos))
        await asyncio.gather(*(silo.agent.join() for silo in silos))
        for silo in silos:
            await silo.agent.wait_for(lambda view: len(view.active) == 8)


async def test_a_cancelled_join_writes_its_own_death():
    """A cancelled start leaves no row that other silos must vote out."""
    async with cluster() as c:
        _, second = await c.joined(2)
        late = c.make(2)
        c.network.cut(late.address, second.address)
        async with late.agent:
            joining = asyncio.ensure_future(late.agent.join())
            await late.agent.wait_for(lambda view: view.get(late.address) is not None)
            joining.cancel()
            await asyncio.wait([joining])
        assert await c.status(late.address) is DEAD


async def test_an_agent_that_never_joined_writes_nothing():
    """A client or a tool only reads."""
    async with cluster() as c:
        await c.joined(1)
        before = await c.table.read()
        spectator = c.make(9)
        async with spectator.agent:
            assert spectator.agent.status is None
            await spectator.agent.leave()
        after = await c.table.read()
        assert (after.version, len(after.rows)) == (before.version, len(before.rows))


async def test_alive_times_rise_while_the_silo_lives():
    """MEM-08: the first write is at a random moment of the period; a failed one is repeated sooner than the period."""
    async with cluster(MembershipOptions(alive_period=20, refresh_period=1000)) as c:
        silo = await c.join(0)
        await asyncio.sleep(60)
        row = (await c.table.read()).get(silo.address)
        assert (c.time.utc_now() - row.member.alive).total_seconds() <= 20
        silo.table.down = True
        await silo.table.failed.wait()
        silo.table.down = False
        failed = c.time.utc_now()
        await asyncio.sleep(3)
        assert (await c.table.read()).get(silo.address).member.alive > failed


@pytest.mark.parametrize("error", [-3600, 3600])
async def test_alive_times_rise_while_the_clock_is_set(error):
    """MEM-08: forwards, then right again: the other silos see a change in each period, so the silo is never stale."""
    async with cluster() as c:
        first, second = await c.joined(2)
        for seconds in (error, 0):
            second.clock_error = timedelta(seconds=seconds)
            for _ in range(5):
                before = (await c.table.read()).get(second.address).member.alive
                await asyncio.sleep(2.5)
                assert (await c.table.read()).get(second.address).member.alive > before
        await first.agent.refresh()
        assert first.agent._janitor.stale == frozenset()


async def test_the_table_is_read_when_a_probe_reports_a_newer_version():
    """The next probe makes up for lost gossip, long before the refresh."""
    async with cluster(MembershipOptions(refresh_period=1000)) as c:
        first, second = await c.joined(2)
        table = await c.table.read()
        assert await c.table.insert(member(address(7), DEAD), table.version)
        await first.agent.refresh()
        began = c.time.time()
        await second.agent.wait_for(lambda view: view.version == first.agent.view.version)
        assert c.time.time() - began <= 2


async def test_refresh_reads_only_if_it_must():
    """`at_least`: a version that the silo already has costs no read."""
    async with cluster() as c:
        silo = await c.join(0)
        reads = silo.table.reads
        await silo.agent.refresh(at_least=silo.agent.view.version)
        assert silo.table.reads == reads
        await silo.agent.refresh(at_least=silo.agent.view.version + 1)
        await silo.agent.refresh()
        assert silo.table.reads == reads + 2


async def test_the_wall_clock_is_the_machines_unless_one_is_given():
    """A real silo passes no clock."""
    async with cluster() as c:
        me = address(0)
        liveness = Liveness(c.time.time)
        deps = MembershipDeps(ask=c.network.ask_from(me), liveness=liveness, rng=random.Random(1))
        agent = MembershipAgent(c.table, member(me), deps, c.options)
        async with agent:
            await agent.join()
            assert agent.view.get(me).started > START
