"""Probes, votes and deaths among several agents, on a network that can be cut, in virtual time."""

from __future__ import annotations

import asyncio

import pytest

from grange.errors import DeclaredDead
from grange.membership.model.member import SiloStatus
from grange.membership.model.messages import PROBE_SERVICE
from tests.membership.cluster import cluster, member

JOINING, ACTIVE, LEAVING, DEAD = SiloStatus


async def test_a_silo_that_was_declared_dead_must_end():
    """MEM-04: the next refresh reports it once; the silo stops probing."""
    async with cluster() as c:
        silo, _ = await c.joined(2)
        table = await c.table.read()
        row = table.get(silo.address)
        await c.table.update(member(silo.address, DEAD), row.etag, table.version)
        error = await silo.fatal
        assert isinstance(error, DeclaredDead)
        assert str(silo.address) in str(error)
        assert silo.agent.probed == frozenset()


async def test_a_silo_whose_row_was_removed_must_end():
    """MEM-04, R4: declared dead and removed before its next read; others remember the death if it writes again."""
    async with cluster() as c:
        silo, other = await c.joined(2)
        table = await c.table.read()
        old = member(silo.address, DEAD)
        await c.table.update(old, table.get(silo.address).etag, table.version)
        silo.table.down = True
        c.network.silos.pop(silo.address)
        await other.agent.refresh()
        assert await c.table.cleanup(c.time.utc_now().replace(year=2100)) == 1
        silo.table.down = False
        assert isinstance(await silo.fatal, DeclaredDead)


async def test_a_leaving_silo_ignores_its_own_death(caplog):
    """MEM-04: declared dead during its own shutdown."""
    async with cluster() as c:
        silo, _ = await c.joined(2)
        await silo.agent.leave()
        table = await c.table.read()
        await c.table.update(member(silo.address, DEAD), table.get(silo.address).etag, table.version)
        await silo.agent.refresh()
        assert silo.gate.fenced is not None  # waiting turns run on other silos, and the drain can go on
        await silo.agent.stop()
        assert not silo.fatal.done()
        assert await c.status(silo.address) is DEAD


@pytest.mark.parametrize("count", [2, 3, 5])
async def test_a_crashed_silo_is_declared_dead_in_time(count):
    """MEM-06, MEM-09: one vote of two silos, two votes of more; at most 8 s until all silos know."""
    async with cluster() as c:
        *others, victim = await c.joined(count)
        await asyncio.sleep(60)
        crashed = c.time.time()
        await victim.crash()
        for silo in others:
            await silo.agent.wait_for(lambda view: view.is_dead(victim.address))
        assert 2 < c.time.time() - crashed <= 8
        voters = {vote.voter for vote in others[0].agent.view.get(victim.address).votes}
        assert len(voters) == (1 if count == 2 else 2)
        assert voters <= {silo.address for silo in others}


async def test_a_silo_that_hangs_is_declared_dead_in_time():
    """Probes get no answer instead of a refusal, so each takes its whole time-out."""
    async with cluster() as c:
        *others, victim = await c.joined(3)
        for other in others:
            c.network.cut(other.address, victim.address)
        started = c.time.time()
        for silo in others:
            await silo.agent.wait_for(lambda view: view.is_dead(victim.address))
        assert c.time.time() - started <= 8
        assert isinstance(await victim.fatal, DeclaredDead)
        assert [await c.status(silo.address) for silo in others] == [ACTIVE, ACTIVE]


async def test_one_silo_alone_declares_no_death_in_a_larger_cluster():
    """MEM-06: it votes again and again for a minute; its single vote is not enough, a second silo's vote is."""
    async with cluster() as c:
        first, second, third = await c.joined(3)
        for _ in range(3):
            await first.accuse(second.address)
            await asyncio.sleep(20)
        row = (await c.table.read()).get(second.address)
        assert row.member.status is ACTIVE
        assert [vote.voter for vote in row.member.votes] == [first.address]
        await third.accuse(second.address)
        assert await c.status(second.address) is DEAD


async def test_two_silos_that_vote_in_the_same_moment_do_not_kill_each_other():
    """Both decide on the same table; one loses the race, reads its own death, and does not vote any more."""
    async with cluster() as c:
        one, two = await c.joined(2)
        c.network.cut(one.address, two.address)
        await asyncio.gather(one.accuse(two.address), two.accuse(one.address))
        found = [await c.status(silo.address) for silo in (one, two)]
        assert sorted(found) == [ACTIVE, DEAD]


async def test_each_silo_probes_three_others_never_itself_and_only_while_active():
    """MEM-09"""
    async with cluster() as c:
        silos = await c.joined(6)
        c.network.asked.clear()
        await asyncio.sleep(10)
        for silo in silos:
            targets = {
                to for asker, to, service in c.network.asked if asker == silo.address and service == PROBE_SERVICE
            }
            assert len(targets) == 3
            assert silo.address not in targets
            assert targets == silo.agent.probed
        await silos[0].agent.leave()
        c.network.asked.clear()
        await asyncio.sleep(10)
        assert c.network.probed_by(silos[0].address) == set()


async def test_a_silo_that_is_not_active_probes_no_silo_of_its_own_accord():
    """MEM-09: before the join."""
    async with cluster() as c:
        await c.joined(2)
        spectator = c.make(9)
        await spectator.start()
        c.network.asked.clear()
        await asyncio.sleep(10)
        assert c.network.probed_by(spectator.address) == set()
