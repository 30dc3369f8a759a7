"""A silo's session with the table: judged reads, settled changes, and announced views."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from functools import partial

import msgspec
import pytest

from grange.errors import MembershipUnavailable, TableLost
from grange.membership.model.member import ROW_FORMAT, SiloStatus, View, Vote
from grange.membership.model.messages import Announcement
from grange.membership.providers.memory import MemoryMembershipTable
from grange.membership.table.session import Session, SessionDeps
from grange.membership.table.transitions import enter, leave, mark_dead
from grange.observability.events import Events
from grange.testing.loop import VirtualTime
from tests.membership.cluster import START, FaultyTable, address, member

JOINING, ACTIVE, LEAVING, DEAD = SiloStatus
ONE, TWO = member(address(1)), member(address(2))


class Desk:
    """A session on a shared table, and the views that it accepted."""

    def __init__(self, table: MemoryMembershipTable) -> None:
        self.table = FaultyTable(table)
        self.views: list[View] = []
        self.session = Session(self.table, self.views.append, SessionDeps(random.Random(1), Events()))

    @property
    def versions(self) -> list[int]:
        return [view.version for view in self.views]


async def test_a_decision_is_settled_when_the_table_shows_it():
    """The last read is the proof; each change yields a view."""
    desk = Desk(MemoryMembershipTable())
    table = await desk.session.settle(partial(enter, me=ONE))
    assert table.get(ONE.address).member.status is JOINING
    await desk.session.settle(partial(leave, me=ONE.address))
    assert desk.versions == [0, 1, 2]


async def test_every_silo_gets_its_change_in_at_last():
    """After a lost race the silo reads and decides again; it does not repeat the write."""
    table = MemoryMembershipTable()
    desks = [Desk(table) for _ in range(10)]
    members = [member(address(number)) for number in range(10)]
    steps = (desk.session.settle(partial(enter, me=me)) for desk, me in zip(desks, members, strict=True))
    with VirtualTime(asyncio.get_running_loop()).installed():
        await asyncio.gather(*steps)
    found = await table.read()
    assert found.version.number == len(found.rows) == 10


async def test_an_unknown_outcome_is_raised_and_the_next_settling_finds_it():
    """R2: the outcome is never assumed, in either direction."""
    desk = Desk(MemoryMembershipTable())
    desk.table.lose_answers = 1
    with pytest.raises(MembershipUnavailable):
        await desk.session.settle(partial(enter, me=ONE))
    table = await desk.session.settle(partial(enter, me=ONE))
    assert table.version.number == 1


async def test_an_announced_view_is_applied_only_if_it_is_newer_and_of_the_same_table():
    """An announcement may come late, twice, or from another table of the same name."""
    shared = MemoryMembershipTable()
    desk, other = Desk(shared), Desk(shared)
    first = desk.session.announcement(await other.session.settle(partial(enter, me=ONE)))
    assert not desk.session.apply(first), "nothing was read yet: there is nothing to compare with"
    await desk.session.read()
    second = desk.session.announcement(await other.session.settle(partial(enter, me=TWO)))
    assert desk.session.apply(second)
    assert desk.session.apply(second)
    assert desk.session.apply(first)
    assert not desk.session.apply(Announcement("another", View(99), ROW_FORMAT))
    assert desk.versions == [1, 2]
    assert desk.views[-1] == second.view


async def test_a_read_that_an_announcement_overtook_is_not_a_lost_table():
    """The read began earlier: its lower version proves nothing, and the view does not go back."""
    shared = MemoryMembershipTable()
    desk, other = Desk(shared), Desk(shared)
    await desk.session.settle(partial(enter, me=ONE))
    old = await shared.read()
    newer = await other.session.settle(partial(enter, me=TWO))

    async def slow_read():
        desk.session.apply(desk.session.announcement(newer))
        return old

    desk.table.read = slow_read
    assert await desk.session.read() == old
    assert desk.versions[-1] == newer.version.number


async def test_a_table_that_comes_back_is_judged_by_the_remembered_version():
    """R3: an empty table is lost, also for a change; the same table again is accepted."""
    shared = MemoryMembershipTable()
    desk = Desk(shared)
    await desk.session.settle(partial(enter, me=ONE))
    kept = dict(shared._store.tables)
    await shared.delete()
    with pytest.raises(TableLost, match=r"at version 1 and is empty"):
        await desk.session.settle(partial(enter, me=ONE))
    assert (await shared.read()).rows == ()
    shared._store.tables.update(kept)
    assert (await desk.session.settle(partial(mark_dead, me=ONE.address))).version.number == 2


async def test_how_long_an_alive_time_has_not_changed():
    """By the reader's own clock, not by the time in the row; a change starts the count again, and so does an outage."""
    with VirtualTime(asyncio.get_running_loop()).installed():
        desk = Desk(MemoryMembershipTable())
        await desk.session.settle(partial(enter, me=msgspec.structs.replace(ONE, alive=START - timedelta(hours=2))))
        age = await alive_age(desk)
        assert age == 0
        await asyncio.sleep(20)
        assert await alive_age(desk) == pytest.approx(20)
        await desk.table.alive(ONE.address, START - timedelta(hours=1))
        assert await alive_age(desk) == 0
        await asyncio.sleep(20)
        desk.table.down = True
        with pytest.raises(MembershipUnavailable):
            await desk.session.read()
        await asyncio.sleep(100)
        desk.table.down = False
        assert await alive_age(desk) == 0
        await asyncio.sleep(20)
        assert await alive_age(desk) == pytest.approx(20)


async def test_how_long_a_vote_was_seen():
    """From its first sight, also in a view that another silo has read; a view alone says nothing about alive times."""
    with VirtualTime(asyncio.get_running_loop()).installed():
        desk = Desk(MemoryMembershipTable())
        await desk.session.settle(partial(enter, me=ONE))
        vote = Vote(TWO.address, START - timedelta(hours=2))
        suspected = msgspec.structs.replace(ONE, votes=(vote,), alive=START + timedelta(hours=2))
        known = desk.session.memory.known
        await asyncio.sleep(5)
        assert desk.session.apply(Announcement(known.incarnation, View(2, (suspected,)), ROW_FORMAT))
        await asyncio.sleep(7)
        ages = desk.session.ages()
        assert ages.of_vote(ONE.address, vote) == pytest.approx(7)
        assert ages.alive[ONE.address] == pytest.approx(12)


async def alive_age(desk: Desk) -> float:
    """The age of silo 1's alive time at a read of the table now."""
    await desk.session.read()
    return desk.session.ages().alive[ONE.address]
