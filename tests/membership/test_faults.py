"""The rows of the fault matrix that belong to membership: which silos a fault kills, how soon, and which it spares."""

from __future__ import annotations

import asyncio
import random

import pytest

from grange.membership.model.member import SiloStatus
from grange.membership.model.options import MembershipOptions
from tests.membership.cluster import Cluster, Silo, cluster

JOINING, ACTIVE, LEAVING, DEAD = SiloStatus


async def found_dead(c: Cluster, others: list[Silo], victim: Silo, limit: float = 8.0) -> float:
    """Wait until all others know; returns how long it took. The victim had been without contact for long enough to
    have fenced itself.
    """
    began = c.time.time()
    for silo in others:
        await silo.agent.wait_for(lambda view: view.is_dead(victim.address))
    took = c.time.time() - began
    assert took <= limit
    assert c.time.time() - victim.last_probed >= c.options.fence_after
    return took


async def live(c: Cluster, silos: list[Silo], seconds: float) -> None:
    """Assert that no silo is even suspected in this time."""
    began = c.time.time()
    while c.time.time() - began < seconds:
        await asyncio.sleep(1)
        for row in (await c.table.read()).rows:
            assert (row.member.status, row.member.votes) == (ACTIVE, ()), row.member.address
    assert len((await c.table.read()).rows) == len(silos)


async def seconds_to_a_death(seed: int, fault: str) -> float:
    """Seconds from the fault until every other silo knows of the death; five silos."""
    async with cluster() as c:
        *others, victim = await c.joined(5)
        await asyncio.sleep(20 + seed * 0.37)
        if fault == "crash":
            await victim.crash()
        else:
            c.network.pause(victim.address)
        took = await found_dead(c, others, victim)
        assert len(others[0].agent.view.active) == 4
        return took


@pytest.mark.parametrize("fault", ["crash", "hang"])
async def test_thirty_deaths_are_found_within_the_figures(fault):
    """F1, F5: half within 4 s, all within 8 s, and no other silo dies. A crash refuses probes, a hang ignores them."""
    took = sorted([await seconds_to_a_death(seed, fault) for seed in range(30)])
    print(f"{fault}: deaths found after {took[0]:.1f} to {took[15]:.1f} s (median), {took[-1]:.1f} s (maximum)")
    assert took[0] >= MembershipOptions().vote_after
    assert took[15] <= 4
    assert took[-1] <= 8


@pytest.mark.parametrize("count", [2, 3, 5])
async def test_thirty_pauses_of_two_seconds_cause_no_death(count):
    """F4: no vote is cast, for each paused silo and each time."""
    async with cluster() as c:
        silos = await c.joined(count)
        await asyncio.sleep(20)
        for seed in range(30):
            paused = silos[seed % count].address
            await asyncio.sleep(seed * 0.137)
            c.network.pause(paused)
            await asyncio.sleep(2)
            c.network.go_on(paused)
            await live(c, silos, 5)


async def test_two_of_five_that_crash_at_once_are_both_found():
    """F2: within 15 s. A silo whose watched silos are mostly silent does not keep a raised health score for ever."""
    async with cluster() as c:
        *others, one, two = await c.joined(5)
        await asyncio.sleep(20)
        await asyncio.gather(one.crash(), two.crash())
        await found_dead(c, others, one, limit=15)
        await found_dead(c, others, two, limit=15)
        assert [await c.status(silo.address) for silo in others] == [ACTIVE] * 3


async def test_a_loop_that_is_blocked_for_ten_seconds_is_not_a_death():
    """F7: the probe thread answers, and reports the lag of the loop."""
    async with cluster() as c:
        *others, blocked = await c.joined(3)
        await asyncio.sleep(20)
        await c.network.block(blocked)
        await asyncio.sleep(10)
        assert blocked.liveness.lag() > 9
        assert [await c.status(silo.address) for silo in (*others, blocked)] == [ACTIVE] * 3


async def test_a_loop_that_is_dead_for_a_minute_is_a_death():
    """F8: probes that are answered for ever would hide it."""
    async with cluster() as c:
        *others, blocked = await c.joined(3)
        await asyncio.sleep(20)
        await c.network.block(blocked)
        await asyncio.sleep(c.options.dead_loop_after)
        assert await c.status(blocked.address) is ACTIVE
        for silo in others:
            await silo.agent.wait_for(lambda view: view.is_dead(blocked.address))
        assert c.time.time() - blocked.liveness._ticked <= c.options.dead_loop_after + 8


@pytest.mark.parametrize("reaches_the_table", [False, True])
async def test_a_silo_cut_off_from_all_others_dies_alone(reaches_the_table):
    """F9, F13: the others go on, and it ends as soon as it reads the table, although some of its votes came first."""
    for seed in range(10):
        async with cluster() as c:
            alone, *others = await c.joined(3)
            await asyncio.sleep(20 + seed / 7)
            for other in others:
                c.network.cut(alone.address, other.address)
            alone.table.down = not reaches_the_table
            await found_dead(c, others, alone)
            await asyncio.sleep(60)
            assert alone.fatal.done() == reaches_the_table
            c.network.cuts.clear()
            alone.table.down = False
            await alone.fatal
            assert [await c.status(other.address) for other in others] == [ACTIVE, ACTIVE]


async def test_of_two_silos_that_lose_each_other_exactly_one_dies():
    """F10: the compare-and-swap decides; the loser reads its death in the table and ends."""
    for seed in range(10):
        async with cluster() as c:
            one, two = await c.joined(2)
            await asyncio.sleep(seed / 7)
            c.network.cut(one.address, two.address)
            done, _ = await asyncio.wait([one.fatal, two.fatal], return_when=asyncio.FIRST_COMPLETED)
            await asyncio.sleep(30)
            assert len(done) == 1
            assert one.fatal.done() != two.fatal.done()
            dead, alive = (one, two) if one.fatal.done() else (two, one)
            assert await c.status(dead.address) is DEAD
            assert await c.status(alive.address) is ACTIVE


async def test_of_two_silos_whose_connection_is_cut_one_way_the_one_without_messages_votes():
    """F11 without a third silo: the silo that receives messages does not vote; the other one does."""
    async with cluster() as c:
        one, two = await c.joined(2)
        await asyncio.sleep(20)
        c.network.cut(one.address, two.address, one_way=True)
        await found_dead(c, [two], one)
        await asyncio.sleep(30)
        assert not two.fatal.done()


async def test_a_cut_in_one_direction_causes_no_death_while_a_third_silo_reaches_both():
    """F11: all silos also keep their proof of contact."""
    async with cluster() as c:
        silos = one, two, _ = await c.joined(3)
        await asyncio.sleep(20)
        c.network.cut(one.address, two.address, one_way=True)
        await live(c, silos, 120)
        assert all(c.time.time() - silo.last_probed <= 2 for silo in silos)


async def test_a_cut_in_both_directions_causes_no_death_while_a_third_silo_reaches_both():
    """F11: calls between the two fail; membership does not repair that."""
    async with cluster() as c:
        silos = one, two, _ = await c.joined(3)
        await asyncio.sleep(20)
        c.network.cut(one.address, two.address)
        await live(c, silos, 120)


async def test_a_silo_that_cannot_reach_the_table_lives():
    """F12: the other silos reach it, so it needs no restart."""
    async with cluster() as c:
        silos = await c.joined(3)
        silos[0].table.down = True
        await live(c, silos, 120)
        silos[0].table.down = False
        late = await c.join(3)
        await silos[0].agent.wait_for(lambda view: view.get(late.address) is not None)


async def test_a_flapping_link_changes_no_membership():
    """F14: the link is up for a second and down for a second, for two minutes."""
    async with cluster() as c:
        silos = one, *others = await c.joined(3)
        await asyncio.sleep(20)
        before = one.agent.view.version
        for _ in range(60):
            for other in others:
                c.network.cut(one.address, other.address)
            await asyncio.sleep(1)
            c.network.cuts.clear()
            await asyncio.sleep(1)
        assert [await c.status(silo.address) for silo in silos] == [ACTIVE] * 3
        assert one.agent.view.version - before <= 2 * len(silos)


async def test_slow_connections_cause_no_death():
    """F15: time-outs adapt to answers that take 0.2 to 1 s, with every tenth answer lost."""
    async with cluster() as c:
        silos = await c.joined(4)
        rng = random.Random(5)
        c.network.delay = lambda: 100 if rng.random() < 0.1 else rng.uniform(0.2, 1.0)
        await live(c, silos, 200)


@pytest.mark.parametrize("veto", [True, False])
async def test_a_connection_that_delivers_messages_withholds_the_vote(veto, caplog):
    """MEM-13: a silo whose probe port is blocked lives while its messages arrive; with the option off it dies."""
    async with cluster(MembershipOptions(connection_veto=veto)) as c:
        *others, deaf = await c.joined(3)
        await asyncio.sleep(20)
        caplog.set_level("INFO", "grange.membership")
        c.network.deaf_threads.add(deaf.address)
        if not veto:
            for silo in others:
                await silo.agent.wait_for(lambda view: view.is_dead(deaf.address))
            return
        await live(c, [*others, deaf], 60)
        withheld = [each for each in caplog.records if getattr(each, "event", "") == "vote_withheld"]
        assert len(withheld) == len(others)
        assert all(silo.agent._voter.withheld > 10 for silo in others)
        await deaf.crash()
        for silo in others:
            await silo.agent.wait_for(lambda view: view.is_dead(deaf.address))
