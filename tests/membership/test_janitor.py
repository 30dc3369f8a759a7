"""Repairs of the table as a whole, by several agents in virtual time."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import msgspec
import pytest

from grange.errors import DeclaredDead
from grange.membership.model.member import SiloStatus, Vote
from grange.membership.model.messages import VIEW_SERVICE
from grange.membership.model.options import MembershipOptions
from tests.membership.cluster import Cluster, address, cluster, member

JOINING, ACTIVE, LEAVING, DEAD = SiloStatus


async def put(c: Cluster, silo, status: SiloStatus, age: float = 0.0, votes: tuple[Vote, ...] = ()) -> None:
    """Write the row of a silo that does not run."""
    seen = c.time.utc_now() - timedelta(seconds=age)
    row = msgspec.structs.replace(member(silo, status, alive=seen), started=seen, votes=votes)
    assert await c.table.insert(row, (await c.table.read()).version)


async def corpses(c: Cluster) -> list[int]:
    return sorted(row.member.address.port - 11000 for row in (await c.table.read()).rows if row.member.status is DEAD)


async def test_rows_of_the_dead_are_removed_once_in_a_period():
    """MEM-16: rows that are too old or too many, and no others; running silos go on, and their views lose the rows."""
    options = MembershipOptions(cleanup_period=600, dead_kept=3, dead_kept_for=1e6)
    async with cluster(options) as c:
        silos = await c.joined(2)
        for number in range(10, 16):
            await put(c, address(number), DEAD, age=1000 - number)
        await asyncio.sleep(500)
        assert len(await corpses(c)) == 6
        await asyncio.sleep(150)
        assert await corpses(c) == [13, 14, 15]
        before = (await c.table.read()).version
        for number in range(20, 22):
            await put(c, address(number), DEAD)
        await asyncio.sleep(500)
        assert len(await corpses(c)) == 5
        assert (await c.table.read()).version.number == before.number + 2
        await asyncio.sleep(150)
        assert await corpses(c) == [15, 20, 21]
        for silo in silos:
            await silo.agent.refresh()
            assert silo.agent.view.get(address(10)) is None
            assert not silo.fatal.done()


async def test_only_the_active_silo_with_the_lowest_address_removes_rows():
    """MEM-16"""
    async with cluster(MembershipOptions(cleanup_period=600, dead_kept=1)) as c:
        first, second = await c.joined(2)
        for number in range(10, 15):
            await put(c, address(number), DEAD, age=1000 - number)
        asked: list = []
        for silo in (first, second):
            silo.table.cleanup = lambda before, silo=silo: asked.append(silo) or c.table.cleanup(before)
        await asyncio.sleep(1300)
        assert asked == [first]
        assert await corpses(c) == [14]


async def test_with_the_option_off_nothing_is_ever_removed():
    """MEM-16"""
    async with cluster(MembershipOptions(cleanup_period=600, cleanup=False, dead_kept=1)) as c:
        await c.joined(2)
        for number in range(10, 15):
            await put(c, address(number), DEAD, age=1000 - number)
        await asyncio.sleep(2000)
        assert len(await corpses(c)) == 5


async def test_a_table_that_is_away_is_cleaned_up_the_next_time():
    """The agent goes on after the failure."""
    async with cluster(MembershipOptions(cleanup_period=600, dead_kept=1)) as c:
        silo = await c.join(0)
        for number in range(10, 15):
            await put(c, address(number), DEAD, age=1000 - number)
        await asyncio.sleep(590)
        silo.table.down = True
        await asyncio.sleep(20)
        silo.table.down = False
        assert len(await corpses(c)) == 5
        await asyncio.sleep(600)
        assert await corpses(c) == [14]


async def test_a_silo_whose_row_was_removed_before_its_next_read_must_end():
    """MEM-04, MEM-16: voted dead, and its row removed, while it could not read."""
    options = MembershipOptions(cleanup_period=100, dead_kept_for=50, vote_expiry=20)
    async with cluster(options) as c:
        *others, gone = await c.joined(3)
        gone.table.down = True
        for other in others:
            c.network.cut(other.address, gone.address)
        for other in others:
            await other.agent.wait_for(lambda view: view.is_dead(gone.address))
        while await c.status(gone.address) is not None:
            await asyncio.sleep(10)
        assert not gone.fatal.done()
        gone.table.down = False
        assert isinstance(await gone.fatal, DeclaredDead)


async def test_a_silo_stuck_in_joining_is_evicted():
    """MEM-10: it answers probes and never becomes active; it learns why it must end."""
    async with cluster() as c:
        first, second = await c.joined(2)
        stuck = c.make(9)
        await stuck.start()
        await put(c, stuck.address, JOINING)
        await asyncio.sleep(120)
        assert await c.status(stuck.address) is JOINING
        await first.agent.wait_for(lambda view: view.is_dead(stuck.address))
        assert "joining for too long" in str(await stuck.fatal)
        assert not second.fatal.done()


async def test_with_the_option_off_a_stuck_silo_stays():
    """MEM-10"""
    async with cluster(MembershipOptions(evict_stuck_joiners=False)) as c:
        await c.joined(2)
        stuck = c.make(9)
        await stuck.start()
        await put(c, stuck.address, JOINING)
        await asyncio.sleep(1000)
        assert await c.status(stuck.address) is JOINING


async def test_a_stale_silo_is_watched_by_all():
    """MEM-10: a silo that stops writing that it lives, until it does so again; it is not declared dead for that."""
    async with cluster() as c:
        silos = await c.joined(8)
        await asyncio.sleep(30)
        stale, *others = silos
        watching = [other for other in others if stale.address in other.agent.probed]
        assert len(watching) < len(others)
        stale.table.down = True
        await asyncio.sleep(30)
        assert all(stale.address in other.agent.probed for other in others)
        assert await c.status(stale.address) is ACTIVE
        stale.table.down = False
        await asyncio.sleep(30)
        assert [other for other in others if stale.address in other.agent.probed] == watching


async def test_a_stale_silo_is_no_relay():
    """MEM-11"""
    async with cluster() as c:
        silos = await c.joined(4)
        silos[0].table.down = True
        await asyncio.sleep(30)
        assert all(silos[0].address not in other.agent._prober._relays for other in silos[1:])
        assert all(silos[1].address in other.agent._prober._relays for other in silos[2:])


async def test_a_death_that_has_its_votes_is_finished(caplog):
    """Two votes in a row that is not DEAD are the result of a bug: the next reader writes the death, and logs it."""
    async with cluster() as c:
        silos = first, second, victim = await c.joined(3)
        table = await c.table.read()
        row = table.get(victim.address)
        votes = tuple(Vote(silo.address, c.time.utc_now()) for silo in (first, second))
        assert await c.table.update(msgspec.structs.replace(row.member, votes=votes), row.etag, table.version)
        await victim.fatal
        assert await c.status(victim.address) is DEAD
        assert [await c.status(silo.address) for silo in silos[:2]] == [ACTIVE, ACTIVE]
        said = [each for each in caplog.records if getattr(each, "event", "") == "silo_declared_dead"]
        assert said
        assert str(victim.address) in said[0].getMessage()


@pytest.mark.parametrize("reachable", [True, False])
async def test_each_silo_that_learns_of_a_death_tells_the_dead_silo_once(reachable):
    """The voters cannot reach it, but other silos may. The dead silo knows at once, also without the table."""
    async with cluster(MembershipOptions(refresh_period=1e4, alive_period=1e4, join_timeout=1e6)) as c:
        *others, victim = await c.joined(4)
        c.network.cut(others[0].address, victim.address)
        c.network.cut(others[1].address, victim.address)
        if not reachable:
            c.network.cut(others[2].address, victim.address)
        c.network.asked.clear()
        now = c.time.time()
        await others[0].accuse(victim.address, witness=others[1].address)
        if reachable:
            await victim.fatal
            assert c.time.time() == now
        await asyncio.sleep(0.5)
        told = [asker for asker, to, service in c.network.asked if (to, service) == (victim.address, VIEW_SERVICE)]
        assert sorted(told) == [other.address for other in others]
        assert victim.fatal.done() == reachable
