"""The database lost the table, or took it back in time: the silos rebuild it from their memory and go on serving."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

import pytest

from grange.errors import TableLost
from grange.membership.model.member import SiloStatus
from grange.membership.model.options import MembershipOptions
from grange.membership.model.provider import Table
from tests.membership.cluster import Cluster, Silo, cluster

JOINING, ACTIVE, LEAVING, DEAD = SiloStatus
BACK = 30.0
"""Seconds within which the cluster must have recovered: F18."""


def kept(c: Cluster) -> dict[str, Table]:
    return dict(c.table._store.tables)


def restore(c: Cluster, tables: dict[str, Table]) -> None:
    c.table._store.tables.clear()
    c.table._store.tables.update(tables)


async def agreed(silos: Iterable[Silo], active: Iterable[Silo] | None = None, above: int = 0) -> None:
    """Assert that all silos see exactly these as active in time, in one version `above`, and that no view went back."""
    silos = list(silos)
    wanted = sorted(silo.address for silo in (active or silos))

    def fits() -> bool:
        views = [silo.agent.view for silo in silos]
        versions = {view.version for view in views}
        return (
            len(versions) == 1
            and versions.pop() > above
            and all([each.address for each in view.active] == wanted for view in views)
        )

    async with asyncio.timeout(BACK):
        while not fits():
            await asyncio.sleep(0.5)
    for silo in silos:
        versions = [view.version for view in silo.views]
        assert versions == sorted(set(versions)), "a view went back, or came twice"
        assert not silo.fatal.done()


async def test_an_emptied_table_is_rebuilt(caplog):
    """R3, F18: noticed within 5 s, rebuilt within 30 s above every version seen; deaths and joins work again."""
    async with cluster() as c:
        silos = await c.joined(3)
        before = await c.table.read()
        with caplog.at_level(logging.WARNING, "grange.membership"):
            await c.table.delete()
            await asyncio.sleep(5)
            events = [getattr(record, "event", "") for record in caplog.records]
        assert events.count("table_lost") == 3
        assert {silo.agent.table for silo in silos} == {"lost"}
        await agreed(silos, above=before.version.number)
        after = await c.table.read()
        assert after.version.incarnation != before.version.incarnation
        assert {silo.agent.table for silo in silos} == {"ok"}
        await agreed([*silos, await c.join(3)])
        await silos[0].crash()
        await agreed(c.silos[1:])


async def test_no_vote_is_cast_while_the_table_is_lost():
    """R3: a silo that crashes meanwhile has its old status in the rebuilt table, and is declared dead afterwards."""
    async with cluster() as c:
        silos = await c.joined(4)
        await c.table.delete()
        await silos[0].crash()
        await asyncio.sleep(8)
        assert (await c.table.read()).rows == ()
        assert all(silo.agent.view.get(silos[0].address).status is ACTIVE for silo in silos[1:])
        await agreed(silos[1:])
        assert all(silo.agent.view.is_dead(silos[0].address) for silo in silos[1:])


@pytest.mark.parametrize("versions", [1, 2, 4])
async def test_a_table_that_went_back_is_rebuilt_from_the_newest_view(versions):
    """R3, F19: the joins that the table forgot are written again; no silo has to leave."""
    async with cluster() as c:
        silos = await c.joined(2)
        states = [kept(c)]
        for number in (2, 3):
            silo = c.make(number)
            await silo.start()
            silo.agent.subscribe(lambda _: states.append(kept(c)))
            await silo.agent.join()
            silos.append(silo)
        number = (await c.table.read()).version.number
        old = next(s for s in states if s["default"].version.number == number - versions)
        await agreed(silos)
        restore(c, old)
        await agreed(silos, above=number)


async def test_a_table_that_comes_back_by_itself_is_not_rebuilt():
    """R3: the database was restored in time: the incarnation stays the same, and the view never changed."""
    async with cluster() as c:
        silos = await c.joined(2)
        whole = kept(c)
        view = silos[0].agent.view
        await c.table.delete()
        await asyncio.sleep(6)
        restore(c, whole)
        await asyncio.sleep(BACK)
        assert {silo.agent.table for silo in silos} == {"ok"}
        assert (await c.table.read()).version == whole["default"].version
        assert silos[0].agent.view == view


async def test_a_table_that_comes_and_goes_does_not_flood_the_log(caplog):
    """Two databases behind one name: each read may reach the other one."""
    async with cluster() as c:
        (silo,) = await c.joined(1)
        whole = kept(c)
        for _ in range(15):
            await c.table.delete()
            with pytest.raises(TableLost):
                await silo.agent.refresh()
            await asyncio.sleep(0.5)
            restore(c, whole)
            await asyncio.sleep(1.5)
            assert silo.agent.table == "ok"
        lost = [record for record in caplog.records if getattr(record, "event", "") == "table_lost"]
        assert len(lost) == 10
        assert "further ones are suppressed for" in lost[-1].message
        assert silo.events.counts["table_lost"] == 15


async def test_a_newcomer_that_took_the_empty_table_ends_up_in_one_cluster():
    """R3: at first the new silo is alone in a new incarnation; then all silos see all."""
    async with cluster() as c:
        silos = await c.joined(3)
        await c.table.delete()
        newcomer = await c.join(3)
        assert [each.address for each in newcomer.agent.view.active] == [newcomer.address]
        await agreed([*silos, newcomer])


async def test_a_newcomer_with_the_lowest_address_takes_part_as_well():
    """The order of rebuilding follows each silo's own view: a silo that knows only itself has nothing to rebuild."""
    async with cluster() as c:
        silos = [await c.join(number) for number in (1, 2, 3)]
        await c.table.delete()
        newcomer = await c.join(0)
        await agreed([*silos, newcomer])


async def test_a_restarted_silo_replaces_itself_in_the_rebuilt_table():
    """A new generation at an old endpoint joins the empty table: the old generation is DEAD in the rebuilt table."""
    async with cluster() as c:
        silos = await c.joined(3)
        await c.table.delete()
        await silos[1].crash()
        again = await c.join(1, generation=2)
        await agreed([silos[0], silos[2], again])
        assert await c.status(silos[1].address) is DEAD


async def test_two_halves_that_both_rebuild_become_one(caplog):
    """R3: each half finds no silo that precedes it; the compare-and-swap decides, and no silo is left out."""
    async with cluster() as c:
        silos = await c.joined(4)
        await c.table.delete()
        await asyncio.sleep(9)
        for one in silos[:2]:
            for other in silos[2:]:
                c.network.cut(one.address, other.address)
        await asyncio.sleep(2.5)
        c.network.cuts.clear()
        await agreed(silos, above=8)


async def test_a_rebuilding_silo_that_is_behind_leaves_no_silo_out():
    """R3: the silo with the lowest address has missed the last join; the missing silos come in all the same."""
    async with cluster() as c:
        silos = await c.joined(3)
        first = silos[0]
        first.table.down = True
        for other in silos[1:]:
            c.network.cut(first.address, other.address)
        late = c.make(3)
        await late.start()
        joining = asyncio.ensure_future(late.agent.join())
        c.network.cuts.clear()
        await joining
        await c.table.delete()
        first.table.down = False
        await agreed([*silos, late], above=8)


async def test_the_dead_do_not_return_from_a_table_that_went_back(caplog):
    """R4: no view shows the dead silo alive, the table shows it as DEAD again, and the dead silo stays dead."""
    async with cluster() as c:
        silos = await c.joined(4)
        victim = silos.pop()
        alive = kept(c)
        await victim.crash()
        await agreed(silos)
        seen = [len(silo.views) for silo in silos]
        restore(c, alive)
        await asyncio.sleep(BACK)
        assert await c.status(victim.address) is DEAD
        await agreed(silos)
        for silo, before in zip(silos, seen, strict=True):
            assert all(view.is_dead(victim.address) for view in silo.views[before:])


async def test_a_dead_row_that_returns_in_a_newer_version_is_dead_again(caplog):
    """R4: the table went back and on again between two reads, so its number is not lower; an alarm names the silo."""
    async with cluster() as c:
        silos = await c.joined(4)
        victim = silos.pop()
        row = (await c.table.read()).get(victim.address)
        await victim.crash()
        await agreed(silos)
        found = await c.table.read()
        with caplog.at_level(logging.WARNING, "grange.membership"):
            assert await c.table.update(row.member, found.get(victim.address).etag, found.version)
            await asyncio.sleep(BACK)
        assert await c.status(victim.address) is DEAD
        assert "dead_row_returned" in [getattr(record, "event", "") for record in caplog.records]
        await agreed(silos)
        assert all(
            view.is_dead(victim.address) for silo in silos for view in silo.views if view.version > found.version.number
        )


async def test_a_join_that_was_forgotten_between_two_reads_is_written_again():
    """R3: the table went back before this silo's join and was changed again: no silo ends, no silo is lost."""
    async with cluster() as c:
        silos = await c.joined(2)
        old = kept(c)
        late = await c.join(2)
        await agreed([*silos, late])
        restore(c, old)
        for _ in range(4):  # silos that are not behind go on with it
            found = await c.table.read()
            row = found.get(silos[0].address)
            assert await c.table.update(row.member, row.etag, found.version)
        await agreed([*silos, late], above=8)


async def test_a_silo_leaves_while_the_table_is_lost():
    """It ends within its stop time-out; the others find out once the table is rebuilt."""
    async with cluster() as c:
        silos = await c.joined(3)
        await c.table.delete()
        await asyncio.sleep(3)
        leaver = silos.pop()
        await leaver.agent.leave()
        await leaver.agent.stop()
        c.network.silos.pop(leaver.address)
        await agreed(silos)
        assert await c.status(leaver.address) is DEAD


async def test_a_silo_that_was_leaving_is_leaving_in_the_rebuilt_table():
    """Each row comes back with the highest status that any silo has seen."""
    async with cluster() as c:
        silos = await c.joined(3)
        old = kept(c)
        leaver = silos[2]
        await leaver.agent.leave()
        restore(c, old)
        await silos[0].agent.wait_for(lambda view: view.version > old["default"].version.number + 1)
        assert await c.status(leaver.address) is LEAVING
        await agreed(silos, active=silos[:2])
        await leaver.agent.stop()
        await agreed(silos[:2])


async def test_the_table_is_lost_while_a_silo_joins():
    """Its JOINING row is lost with the table; it joins all the same."""
    async with cluster() as c:
        silos = await c.joined(2)
        late = c.make(2)
        await late.start()
        for silo in silos:
            c.network.cut(late.address, silo.address)
        joining = asyncio.ensure_future(late.agent.join())
        await late.agent.wait_for(lambda view: view.get(late.address) is not None)
        await c.table.delete()
        c.network.cuts.clear()
        await joining
        await agreed([*silos, late])


async def test_a_silo_alone_rebuilds_its_table():
    """No other silo can do it."""
    async with cluster() as c:
        silos = await c.joined(1)
        await c.table.delete()
        await agreed(silos, above=2)


async def test_a_silo_that_was_stopped_for_days_trusts_the_table():
    """R3: its row is gone because it was dead for long; its own memory must not bring it back."""
    async with cluster(MembershipOptions(fence_limit=1e6)) as c:
        silos = await c.joined(3)
        sleeper = silos.pop()
        sleeper.table.down = True
        for silo in silos:
            c.network.cut(sleeper.address, silo.address)
        await agreed(silos)
        await asyncio.sleep(3700)
        found = await c.table.read()
        rows = tuple(row for row in found.rows if row.member.address != sleeper.address)
        c.table._store.tables["default"] = Table(found.version, rows)
        sleeper.table.down = False
        await sleeper.fatal
        assert await c.status(sleeper.address) is None
