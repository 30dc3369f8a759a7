"""The table is down, loses answers, or went back in time: no silo dies of it, and no outcome is assumed."""

from __future__ import annotations

import asyncio
import logging

import pytest

from grange.errors import JoinFailed, MembershipUnavailable, TableLost
from grange.membership.model.member import SiloStatus
from grange.membership.model.options import MembershipOptions
from tests.membership.cluster import cluster

JOINING, ACTIVE, LEAVING, DEAD = SiloStatus


async def test_the_table_may_be_away_for_long(caplog):
    """R8, F17: no silo dies, the view stays, warnings are rare; afterwards deaths are found again."""
    async with cluster() as c:
        silos = await c.joined(3)
        before = [silo.agent.view for silo in silos]
        with caplog.at_level(logging.WARNING, "grange.membership"):
            for silo in silos:
                silo.table.down = True
            await asyncio.sleep(600)
        assert [silo.agent.view for silo in silos] == before
        assert len(caplog.records) <= 3 * 10 * 11  # ten a minute
        for silo in silos:
            silo.table.down = False
        with caplog.at_level(logging.INFO, "grange.membership"):
            await asyncio.sleep(20)
        events = [getattr(record, "event", "") for record in caplog.records]
        assert events.count("table_reachable") == 3
        await silos[2].crash()
        await silos[0].agent.wait_for(lambda view: view.is_dead(silos[2].address))
        assert not silos[0].fatal.done()
        assert not silos[1].fatal.done()


async def test_after_the_table_was_away_no_silo_counts_as_stale():
    """R8: every `alive` time is old then; a single vote must not become enough because of that."""
    async with cluster() as c:
        first, second, third = await c.joined(3)
        for silo in (first, second, third):
            silo.table.down = True
        await asyncio.sleep(600)
        first.table.down = False
        await first.agent.refresh()
        await first.accuse(second.address)
        assert await c.status(second.address) is ACTIVE
        assert len((await c.table.read()).get(second.address).member.votes) == 1


async def test_a_silo_joins_when_the_table_comes_back():
    """F17: joins wait for the table."""
    async with cluster() as c:
        await c.joined(2)
        late = c.make(2)
        await late.start()
        late.table.down = True
        joining = asyncio.ensure_future(late.agent.join())
        await asyncio.sleep(60)
        late.table.down = False
        await joining
        assert await c.status(late.address) is ACTIVE


async def test_a_join_and_a_leave_wait_until_a_damaged_row_is_repaired(caplog):
    """A row that a hand or a bad disk has damaged ends no join and no leave for ever; the log shows the row."""
    async with cluster() as c:
        await c.joined(2)
        late = c.make(2)
        await late.start()
        late.table.damaged = True
        with caplog.at_level(logging.WARNING, "grange.membership"):
            joining = asyncio.ensure_future(late.agent.join())
            await asyncio.sleep(60)
        assert not joining.done()
        assert any("row: 'rubbish'" in record.getMessage() for record in caplog.records)
        late.table.damaged = False
        await joining
        assert await c.status(late.address) is ACTIVE
        late.table.damaged = True
        leaving = asyncio.ensure_future(late.agent.leave())
        await asyncio.sleep(0.5)
        late.table.damaged = False
        await leaving
        assert await c.status(late.address) is LEAVING


async def test_a_verdict_ends_a_join_at_once():
    """A newer process at the endpoint: no later read changes that."""
    async with cluster() as c:
        old = c.make(0)
        await old.start()
        await c.join(0, generation=2)
        with pytest.raises(JoinFailed, match="started later at the same endpoint"):
            await old.agent.join()


async def test_a_silo_does_not_start_without_a_table():
    """The start raises a clear error instead of hanging."""
    async with cluster() as c:
        silo = c.make(0)
        silo.table.down = True
        with pytest.raises(MembershipUnavailable):
            await silo.start()


async def test_a_change_whose_answer_was_lost_is_read_again():
    """R2, F23: insert and update were applied; nothing is done twice and no outcome is assumed."""
    async with cluster() as c:
        await c.joined(1)
        late = c.make(1)
        await late.start()
        late.table.lose_answers = 2
        before = (await c.table.read()).version.number
        await late.agent.join()
        assert late.table.lose_answers == 0
        assert (await c.table.read()).version.number == before + 2
        late.table.lose_answers = 1
        await late.agent.leave()
        assert (await c.table.read()).version.number == before + 3
        assert await c.status(late.address) is LEAVING


async def test_a_vote_whose_answer_was_lost_counts_once():
    """R2: the decision after the next missed probe finds the vote in the table."""
    async with cluster() as c:
        first, _, _, victim = await c.joined(4)
        first.table.lose_answers = 1
        await first.accuse(victim.address)
        await first.accuse(victim.address)
        row = (await c.table.read()).get(victim.address)
        assert [vote.voter for vote in row.member.votes] == [first.address]


async def test_a_lost_table_is_not_taken_for_a_fresh_one(caplog):
    """R3: views stay, changes are refused, the silos go on; once the table is back, changes work again."""
    async with cluster() as c:
        silos = await c.joined(2)
        before = silos[0].agent.view
        kept = dict(c.table._store.tables)
        await c.table.delete()
        with pytest.raises(TableLost, match="empty"):
            await silos[0].agent.refresh()
        await silos[1].crash()
        await asyncio.sleep(8)
        assert silos[0].agent.view == before
        assert (await c.table.read()).rows == ()
        assert not silos[0].fatal.done()
        c.table._store.tables.update(kept)
        await silos[0].agent.wait_for(lambda view: view.is_dead(silos[1].address))


async def test_a_table_that_went_back_in_time_is_refused():
    """R3: the same table with a lower version than before."""
    async with cluster() as c:
        silo = await c.join(0)
        kept = dict(c.table._store.tables)
        other = await c.join(1)
        await silo.agent.refresh()
        before = silo.agent.view
        c.table._store.tables.update(kept)
        with pytest.raises(TableLost, match="back in time"):
            await silo.agent.refresh()
        assert silo.agent.view == before
        assert before.get(other.address)


async def test_stop_is_bounded_while_the_table_is_away(caplog):
    """A silo that cannot write its death ends all the same; the other silos find out by probes."""
    async with cluster() as c:
        first, second = await c.joined(2)
        second.table.down = True
        began = c.time.time()
        await second.agent.stop()
        assert c.time.time() - began <= 5
        c.network.silos.pop(second.address)
        await first.agent.wait_for(lambda view: view.is_dead(second.address))


async def test_a_cancelled_stop_leaves_no_task_behind():
    """The agent ends even when its `stop` was cancelled."""
    async with cluster() as c:
        _, second = await c.joined(2)
        second.table.down = True
        running = asyncio.all_tasks()
        stopping = asyncio.ensure_future(second.agent.stop())
        await asyncio.sleep(0.3)  # before the other silo misses the probes of this one
        stopping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stopping
        assert len(second.agent._tasks) == 0
        assert asyncio.all_tasks() < running


@pytest.mark.parametrize(
    "options",
    [
        MembershipOptions(refresh_period=15, alive_period=1e6, join_timeout=1e7),
        MembershipOptions(refresh_period=1e6, alive_period=15, join_timeout=1e7),
    ],
    ids=["refresh", "alive"],
)
async def test_after_a_success_pauses_start_from_the_first_again(options):
    """MEM-08: an earlier long outage does not lengthen the pauses of a short one."""
    async with cluster(options) as c:
        silo = await c.join(0)
        silo.table.down = True
        await asyncio.sleep(2000)
        silo.table.down = False
        await asyncio.sleep(500)
        silo.table.failed.clear()
        silo.table.down = True
        await silo.table.failed.wait()
        silo.table.down = False
        before = silo.table.reads, (await c.table.read()).rows[0].member.alive
        await asyncio.sleep(3)
        after = silo.table.reads, (await c.table.read()).rows[0].member.alive
        assert after != before
