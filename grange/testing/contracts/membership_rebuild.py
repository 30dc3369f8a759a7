"""The contract of membership tables that were lost: `rebuild`, and an alive time without a row.

Part of `MembershipTableContract`; see `membership.py`.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

from grange.membership.model.member import SiloStatus
from grange.membership.model.provider import FRESH
from grange.testing.contracts.membership_samples import NOON, OpenTable, a_silo, insert


class RebuildContract:
    """Fixture to provide: `open_table`, an `OpenTable` on a store that is empty at the start of each test."""

    async def test_an_empty_table_is_rebuilt_at_the_version_given(self, open_table: OpenTable) -> None:
        """R3: it has the given rows, a new incarnation, and versions that continue from the given number."""
        rows = [a_silo(1), a_silo(2, SiloStatus.LEAVING), a_silo(3, SiloStatus.DEAD)]
        async with open_table("one") as table:
            assert await table.rebuild(rows, FRESH, 41)
            contents = await table.read()
            assert [row.member for row in contents.rows] == rows
            assert contents.version.number == 41
            assert contents.version.incarnation
            assert all(row.etag for row in contents.rows)
            after = await insert(table, a_silo(4))
            assert after.version.number == 42
            assert after.version.incarnation == contents.version.incarnation
            assert await table.update(a_silo(1, SiloStatus.DEAD), contents.rows[0].etag, after.version)

    async def test_a_rebuilt_table_replaces_what_was_there(self, open_table: OpenTable) -> None:
        """R3: rows and alive times of the rolled-back table are gone, and its versions are no longer valid."""
        async with open_table("one") as table:
            await insert(table, a_silo(1))
            old = await insert(table, a_silo(2))
            await table.alive(a_silo(2).address, NOON + timedelta(hours=1))
            assert await table.rebuild([a_silo(2), a_silo(3)], old.version, 9)
            contents = await table.read()
            assert [row.member for row in contents.rows] == [a_silo(2), a_silo(3)]
            assert contents.version.number == 9
            assert contents.version.incarnation != old.version.incarnation
            assert not await table.insert(a_silo(5), old.version)
            assert not await table.update(a_silo(2), contents.rows[0].etag, old.version)
            assert not await table.rebuild([a_silo(1)], old.version, 50)
            assert await table.read() == contents

    async def test_a_rebuild_may_lower_the_number(self, open_table: OpenTable) -> None:
        """The caller chooses the number; only `seen` decides whether the rebuild is accepted."""
        async with open_table("one") as table:
            assert await table.rebuild([a_silo(1)], FRESH, 100)
            high = (await table.read()).version
            assert await table.rebuild([a_silo(1)], high, 1)
            low = (await table.read()).version
            assert low.number == 1
            assert low.incarnation != high.incarnation

    async def test_a_rebuild_loses_to_any_change(self, open_table: OpenTable) -> None:
        """R3: the table must still be exactly as it was seen; a table that has returned is not overwritten."""
        async with open_table("one") as table:
            seen = (await insert(table, a_silo(1))).version
            changed = await insert(table, a_silo(2))
            assert not await table.rebuild([a_silo(3)], seen, 10)
            assert not await table.rebuild([a_silo(3)], FRESH, 10)
            assert await table.read() == changed

    async def test_of_many_rebuilds_at_once_one_wins(self, open_table: OpenTable) -> None:
        """R3: for an empty table and for one with rows; the rows are those of the winner only."""
        async with open_table("one") as one, open_table("one") as two, open_table("one") as three:
            tables = (one, two, three, one, two, three)
            for number in (10, 20):
                seen = (await one.read()).version
                tries = (table.rebuild([a_silo(place)], seen, number + place) for place, table in enumerate(tables))
                won = await asyncio.gather(*tries)
                assert sum(won) == 1
                contents = await two.read()
                winner = won.index(True)
                assert [row.member for row in contents.rows] == [a_silo(winner)]
                assert contents.version.number == number + winner

    async def test_a_rebuild_of_one_cluster_leaves_the_others(self, open_table: OpenTable) -> None:
        """MBT-14: neither rows nor versions of another cluster change."""
        async with open_table("one") as one, open_table("two") as two:
            kept = await insert(two, a_silo(1))
            assert await one.rebuild([a_silo(1), a_silo(2)], FRESH, 7)
            assert await two.read() == kept

    async def test_a_sign_of_life_says_whether_the_row_is_there(self, open_table: OpenTable) -> None:
        """R3: an alive time detects a lost table; an older time changes nothing and reports no loss."""
        async with open_table("one") as table:
            assert not await table.alive(a_silo(1).address, NOON)
            await insert(table, a_silo(1))
            assert await table.alive(a_silo(1).address, NOON + timedelta(seconds=9))
            assert await table.alive(a_silo(1).address, NOON)
            assert not await table.alive(a_silo(2).address, NOON)
            await table.delete()
            assert not await table.alive(a_silo(1).address, NOON + timedelta(seconds=10))
            assert (await table.read()).version == FRESH
