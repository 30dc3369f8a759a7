"""The contract of membership tables. Subclass `MembershipTableContract` and provide the fixture `open_table`."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import msgspec

from grange.membership.model.member import SiloStatus, Vote, make_view
from grange.membership.model.provider import Table, TableVersion
from grange.proto.ids import SiloAddress
from grange.testing.contracts.membership_rebuild import RebuildContract
from grange.testing.contracts.membership_samples import NOON, OpenTable, a_silo, insert


class MembershipTableContract(RebuildContract):
    """Fixture to provide: `open_table`, an `OpenTable` on a store that is empty at the start of each test."""

    async def test_a_fresh_table_is_empty_and_at_version_0(self, open_table: OpenTable) -> None:
        """MBT-01: no members, version number 0, an etag."""
        async with open_table("fresh") as table:
            contents = await table.read()
            assert contents.rows == ()
            assert contents.version.number == 0
            assert contents.version.etag

    async def test_reading_never_makes_a_table(self, open_table: OpenTable) -> None:
        """The first insert draws the incarnation, so that a lost table differs from a new one."""
        async with open_table("fresh") as table:
            before = await table.read()
            assert not before.version.incarnation
            assert await table.read() == before

    async def test_insert_adds_a_member_and_a_version(self, open_table: OpenTable) -> None:
        """MBT-02: one member, version 1."""
        async with open_table("one") as table:
            contents = await insert(table, a_silo(1))
            assert [row.member for row in contents.rows] == [a_silo(1)]
            assert contents.version.number == 1
            assert contents.version.incarnation

    async def test_insert_at_a_used_version_is_refused(self, open_table: OpenTable) -> None:
        """MBT-03: an insert of the same silo and of another one."""
        async with open_table("one") as table:
            before = (await table.read()).version
            after = await insert(table, a_silo(1))
            assert not await table.insert(a_silo(1), before)
            assert not await table.insert(a_silo(2), before)
            assert await table.read() == after

    async def test_insert_of_a_silo_that_is_there_is_refused(self, open_table: OpenTable) -> None:
        """MBT-04: also at the right version; count and version do not change."""
        async with open_table("one") as table:
            after = await insert(table, a_silo(1))
            again = msgspec.structs.replace(a_silo(1), name="impostor")
            assert not await table.insert(again, after.version)
            assert await table.read() == after

    async def test_one_row_with_the_tables_version(self, open_table: OpenTable) -> None:
        """MBT-05: row etag, version number, and a version etag that differs from the one passed to insert."""
        async with open_table("one") as table:
            before = (await table.read()).version
            assert await table.insert(a_silo(1), before)
            row, version = await table.read_row(a_silo(1).address)
            assert row is not None
            assert row.etag
            assert row.member == a_silo(1)
            assert version.number == 1
            assert version.etag != before.etag
            assert await table.read_row(a_silo(2).address) == (None, version)

    async def test_the_whole_table_after_an_insert(self, open_table: OpenTable) -> None:
        """MBT-06: the row, its etag, the new version number and a new etag; equal to reading the single row."""
        async with open_table("one") as table:
            before = (await table.read()).version
            contents = await insert(table, a_silo(1))
            row, version = await table.read_row(a_silo(1).address)
            assert contents == Table(version, (row,) if row else ())
            assert contents.version.etag != before.etag

    async def test_update_needs_the_right_row_and_version(self, open_table: OpenTable) -> None:
        """MBT-07: an update at an old version fails, at the current one succeeds, and repeated fails."""
        async with open_table("one") as table:
            first = (await insert(table, a_silo(1))).version
            current = await insert(table, a_silo(2))
            row = current.get(a_silo(1).address)
            assert row is not None
            leaving = a_silo(1, SiloStatus.LEAVING)
            assert not await table.update(leaving, row.etag, first)
            assert not await table.update(leaving, "0", current.version)
            assert await table.update(leaving, row.etag, current.version)
            assert not await table.update(leaving, row.etag, current.version)
            after = await table.read()
            assert not await table.update(leaving, row.etag, after.version)
            assert await table.read() == after

    async def test_update_of_a_silo_that_is_not_there_is_refused(self, open_table: OpenTable) -> None:
        """An update never inserts."""
        async with open_table("one") as table:
            after = await insert(table, a_silo(1))
            assert not await table.update(a_silo(2), after.rows[0].etag, after.version)
            assert not await table.update(a_silo(2), "", after.version)
            assert await table.read() == after

    async def test_an_updated_row_is_what_was_written(self, open_table: OpenTable) -> None:
        """MBT-08: the row keeps votes and their times; a failed update changes neither row etag nor version."""
        votes = (
            Vote(SiloAddress("10.0.0.2", 11111, 7), NOON),
            Vote(SiloAddress("fd00::3", 11111, 8), NOON + timedelta(seconds=1, microseconds=5)),
        )
        async with open_table("one") as table:
            before = await insert(table, a_silo(1))
            suspected = msgspec.structs.replace(a_silo(1), votes=votes)
            assert await table.update(suspected, before.rows[0].etag, before.version)
            after = await table.read()
            assert after.rows[0].member == suspected
            assert after.rows[0].etag != before.rows[0].etag
            assert after.version.number == before.version.number + 1
            assert after.version.incarnation == before.version.incarnation
            assert not await table.update(a_silo(1), before.rows[0].etag, before.version)
            assert await table.read() == after

    async def test_a_silo_tells_that_it_lives_without_a_new_version(self, open_table: OpenTable) -> None:
        """Neither version nor row etag change; a change based on the row before still succeeds; the time only rises."""
        later = NOON + timedelta(seconds=30)
        async with open_table("one") as table:
            before = await insert(table, a_silo(1))
            await table.alive(a_silo(1).address, later)
            await table.alive(a_silo(1).address, NOON)
            after = await table.read()
            assert after.version == before.version
            assert after.rows[0].etag == before.rows[0].etag
            assert after.rows[0].member.alive == later
            assert await table.update(a_silo(1, SiloStatus.LEAVING), before.rows[0].etag, before.version)
            row, _ = await table.read_row(a_silo(1).address)
            assert row is not None
            assert row.member == msgspec.structs.replace(a_silo(1, SiloStatus.LEAVING), alive=later)

    async def test_an_alive_time_of_an_unknown_silo_changes_nothing(self, open_table: OpenTable) -> None:
        """A removed row is not created again."""
        async with open_table("one") as table:
            before = await insert(table, a_silo(1))
            await table.alive(a_silo(2).address, NOON + timedelta(hours=1))
            assert await table.read() == before
            row = (await insert(table, a_silo(2))).get(a_silo(2).address)
            assert row is not None
            assert row.member.alive == NOON

    async def test_cleanup_removes_old_rows_that_are_not_active(self, open_table: OpenTable) -> None:
        """MBT-12: old rows of every status except ACTIVE go; active rows and rows with a recent alive time stay."""
        old = NOON - timedelta(days=10)
        async with open_table("one") as table:
            for number, status in enumerate(SiloStatus):
                await insert(table, a_silo(number, status, alive=old))
            await insert(table, a_silo(10, SiloStatus.DEAD))
            await insert(table, a_silo(11, SiloStatus.LEAVING, alive=old))
            await table.alive(a_silo(11).address, NOON)
            before = await table.read()
            assert await table.cleanup(NOON - timedelta(days=7)) == len(SiloStatus) - 1
            after = await table.read()
            kept = {row.member.name: row.member.status for row in after.rows}
            assert kept == {
                "silo-1": SiloStatus.ACTIVE,
                "silo-10": SiloStatus.DEAD,
                "silo-11": SiloStatus.LEAVING,
            }
            assert after.version.number == before.version.number + 1
            assert await table.cleanup(NOON - timedelta(days=7)) == 0
            assert await table.read() == after

    async def test_gateways_are_active_members_with_a_port(self, open_table: OpenTable) -> None:
        """MBT-13: two of ten."""
        async with open_table("one") as table:
            for number in range(10):
                status = SiloStatus.ACTIVE if number % 2 else SiloStatus.DEAD
                await insert(table, a_silo(number, status, gateway=30000 if number in {0, 1, 2, 3} else 0))
            contents = await table.read()
            view = make_view(contents.version.number, (row.member for row in contents.rows))
            assert [member.name for member in view.gateways] == ["silo-1", "silo-3"]

    async def test_clusters_in_one_store_do_not_see_each_other(self, open_table: OpenTable) -> None:
        """MBT-14: neither rows nor versions; delete removes the rows of one cluster only."""
        async with open_table("one") as one, open_table("two") as two:
            await insert(one, a_silo(1))
            await insert(one, a_silo(2))
            kept = await insert(two, a_silo(1))
            assert kept.version.number == 1
            assert await two.cleanup(NOON + timedelta(days=1)) == 0
            await one.delete()
            assert (await one.read()).version.number == 0
            assert (await one.read()).rows == ()
            assert await two.read() == kept

    async def test_a_table_made_again_is_another_table(self, open_table: OpenTable) -> None:
        """No version of a deleted table is valid for the next table, although the numbers are equal."""
        async with open_table("one") as table:
            old = await insert(table, a_silo(1))
            await table.delete()
            assert not await table.update(a_silo(1), old.rows[0].etag, old.version)
            assert not await table.insert(a_silo(2), old.version)
            assert (await table.read()).version.number == 0
            new = await insert(table, a_silo(1))
            assert new.version.number == old.version.number
            assert new.version.etag != old.version.etag
            assert new.version.incarnation != old.version.incarnation
            assert not await table.update(a_silo(1), new.rows[0].etag, old.version)

    async def test_of_many_changes_at_once_one_wins(self, open_table: OpenTable) -> None:
        """Several silos change the table at the same version over separate connections: exactly one succeeds."""
        async with open_table("one") as one, open_table("one") as two, open_table("one") as three:
            tables = (one, two, three, one, two, three)
            for number in range(0, 30, 10):
                before = await one.read()
                won = await asyncio.gather(
                    *(table.insert(a_silo(number + place), before.version) for place, table in enumerate(tables))
                )
                after = await two.read()
                assert sum(won) == 1
                assert after.version.number == before.version.number + 1
                assert len(after.rows) == len(before.rows) + 1

    async def test_another_connection_reads_what_was_written(self, open_table: OpenTable) -> None:
        """Each write is visible at once to its writer and to every other silo."""
        async with open_table("one") as writer, open_table("one") as reader:
            for number in range(5):
                written = await insert(writer, a_silo(number))
                assert await reader.read() == written

    async def test_a_cancelled_operation_leaves_the_table_usable(self, open_table: OpenTable) -> None:
        """After a cancellation at any moment the next operations work, and the version counts the completed changes."""
        async with open_table("one") as table:
            await insert(table, a_silo(0))
            for turns in range(12):
                version: TableVersion = (await table.read()).version
                change = asyncio.ensure_future(table.insert(a_silo(turns + 1), version))
                for _ in range(turns):
                    await asyncio.sleep(0)
                change.cancel()
                await asyncio.wait([change])
                contents = await table.read()
                assert contents.version.number == len(contents.rows)
