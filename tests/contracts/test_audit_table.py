"""Each table of the audit adds rows once, reads them by filters and pages, and lets no row be changed or removed."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, closing, nullcontext
from pathlib import Path

import asyncpg
import msgspec
import pytest

from grange import ConfigurationError
from grange.audit.memory import MemoryAuditTable, MemoryRows
from grange.audit.provider import AuditFilter, AuditTable, KeptRow, Origin
from grange.audit.urls import check_url, open_audit
from grange.proto.acts import CALL_ROW, AuditRow, Level
from tests.databases.test_postgres_rights import a_role

CHANGES = ("UPDATE grange_audit SET actor = 'x'", "DELETE FROM grange_audit")

Open = Callable[[str], AbstractAsyncContextManager[AuditTable]]
"""Opens the table for the rows of a silo."""


def row(number: int, actor: str = "ann", action: str = "cart/pay", kind: str = CALL_ROW, via: str = "web") -> AuditRow:
    found = AuditRow(number, 1000.5 + number, actor, Level.OPERATOR, action, "cart/a", "a reason", "done", "text")
    return msgspec.structs.replace(found, kind=kind, via=via, trace="0" * 32, begun=number - 1)


def numbers(rows: list[KeptRow]) -> list[tuple[str, int]]:
    return [(each.silo, each.row.number) for each in rows]


class AuditTableContract:
    """The suite. A subclass has the fixture `open_table`."""

    async def test_a_row_reads_back_as_it_was(self, open_table: Open) -> None:
        async with open_table("one@1") as table:
            await table.append([row(1), row(2, "bob", via="")])
            found = await table.read(AuditFilter())
            assert [each.row for each in found] == [row(2, "bob", via=""), row(1)]
            assert [each.silo for each in found] == ["one@1", "one@1"]

    async def test_a_batch_that_is_sent_again_adds_nothing(self, open_table: Open) -> None:
        """The reply to the first one was lost. The same number of another silo is another row."""
        async with open_table("one@1") as one, open_table("two@1") as two:
            await one.append([row(1), row(2)])
            await one.append([row(1), row(2), row(3)])
            await two.append([row(1)])
            found = numbers(await one.read(AuditFilter()))
            assert found == [("two@1", 1), ("one@1", 3), ("one@1", 2), ("one@1", 1)]

    async def test_rows_are_read_by_filters(self, open_table: Open) -> None:
        async with open_table("one@1") as table:
            rows = [row(1), row(2, "user:bob", via=""), row(3, action="drain", kind="act"), row(4, "%_'")]
            await table.append(rows)

            async def found(wanted: AuditFilter) -> list[int]:
                return [each.row.number for each in await table.read(wanted)]

            assert await found(AuditFilter(who="bob")) == [2]
            assert await found(AuditFilter(who="web")) == [4, 3, 1]
            assert await found(AuditFilter(who="%_'")) == [4]
            assert await found(AuditFilter(what="cart/pay")) == [4, 2, 1]
            assert await found(AuditFilter(what="cart/a", kind="act")) == [3]
            assert await found(AuditFilter(since=1003.5)) == [4, 3]
            assert await found(AuditFilter(who="nothing of this")) == []

    async def test_pages_follow_each_other(self, open_table: Open) -> None:
        async with open_table("one@1") as table:
            await table.append([row(number) for number in range(1, 6)])
            seen, before = list[int](), 0
            while page := await table.read(AuditFilter(limit=2, before=before)):
                seen += [each.row.number for each in page]
                before = page[-1].id
            assert seen == [5, 4, 3, 2, 1]

    async def test_it_is_opened_again(self, open_table: Open) -> None:
        async with open_table("one@1") as table:
            await table.append([row(1)])
        async with open_table("one@2") as table:
            await table.append([row(1)])
            assert numbers(await table.read(AuditFilter())) == [("one@2", 1), ("one@1", 1)]


class TestMemory(AuditTableContract):
    @pytest.fixture
    def open_table(self) -> Open:
        rows = MemoryRows()
        return lambda silo: nullcontext(MemoryAuditTable(Origin("shop", silo), rows))


class TestSqlite(AuditTableContract):
    @pytest.fixture
    def open_table(self, tmp_path: Path) -> Open:
        return lambda silo: open_audit(f"sqlite:///{tmp_path}/audit.db", Origin("shop", silo))

    async def test_the_file_refuses_changes(self, open_table: Open, tmp_path: Path) -> None:
        """S10."""
        async with open_table("one@1") as table:
            await table.append([row(1)])
        with closing(sqlite3.connect(tmp_path / "audit.db")) as file:
            for statement in CHANGES:
                with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                    file.execute(statement)
            assert file.execute("SELECT actor FROM grange_audit").fetchall() == [("ann",)]

    async def test_a_row_of_another_cluster_is_not_read(self, open_table: Open, tmp_path: Path) -> None:
        """S11."""
        async with open_table("one@1") as table:
            await table.append([row(1)])
        async with open_audit(f"sqlite:///{tmp_path}/audit.db", Origin("other", "")) as table:
            assert await table.read(AuditFilter()) == []


class TestPostgres(AuditTableContract):
    @pytest.fixture
    def open_table(self, postgres_url: str) -> Open:
        return lambda silo: open_audit(postgres_url, Origin("shop", silo))

    async def test_its_owner_changes_nothing_by_mistake(self, open_table: Open, postgres_url: str) -> None:
        """S10."""
        async with open_table("one@1") as table:
            await table.append([row(1)])
        owner = await asyncpg.connect(postgres_url)
        try:
            for statement in (
                "UPDATE grange_audit SET actor = 'x'",
                "DELETE FROM grange_audit",
                "TRUNCATE grange_audit",
            ):
                with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
                    await owner.execute(statement)
            assert await owner.fetchval("SELECT actor FROM grange_audit") == "ann"
        finally:
            await owner.close()

    async def test_a_role_that_may_only_add_is_enough(self, open_table: Open, postgres_url: str) -> None:
        """S10: the documented rights are enough to write, and neither change nor remove nor read a row."""
        async with open_table("one@1"):
            pass
        async with a_role(postgres_url) as database:
            await database.run(documented("grants: audit").replace(" TO silo;", " TO APP;"))
            async with open_audit(database.app, Origin("shop", "two@1")) as table:
                await table.append([row(1), row(2)])
                await table.append([row(2), row(3)])
            await database.run("ALTER TABLE grange_audit DISABLE TRIGGER grange_audit_keeps_rows")
            writer = await asyncpg.connect(database.app)
            try:
                for statement in (*CHANGES, "SELECT * FROM grange_audit"):
                    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied"):
                        await writer.execute(statement)
            finally:
                await writer.close()
        async with open_table("one@2") as table:
            assert numbers(await table.read(AuditFilter())) == [("two@1", 3), ("two@1", 2), ("two@1", 1)]

    async def test_its_owner_removes_old_rows_as_documented(self, open_table: Open, postgres_url: str) -> None:
        async with open_table("one@1") as table:
            await table.append([row(1)])
            owner = await asyncpg.connect(postgres_url)
            try:
                await owner.execute(documented("removal: audit"))
                with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
                    await owner.execute("DELETE FROM grange_audit")
            finally:
                await owner.close()
            assert await table.read(AuditFilter()) == []


def documented(name: str) -> str:
    """The SQL with this name on the page."""
    page = Path(__file__).parents[2] / "docs" / "operations" / "audit.md"
    found = re.search(rf"<!-- {name} -->\n```sql\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("scheme", ["redis", "rediss", "redis+sentinel"])
def test_redis_is_refused_by_name(scheme: str) -> None:
    with pytest.raises(ConfigurationError, match="Redis is not offered for the audit"):
        check_url(f"{scheme}://host")


def test_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="the audit URL has the scheme 'mysql'; known are"):
        check_url("mysql://host/db")
