"""The rights in Postgres that docs/operations names suffice for a silo's whole life, and a missing one is named."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from grange import Grain, PersistentState
from grange.client import Client
from grange.errors import ConfigurationError
from grange.membership.model.member import SiloStatus
from grange.membership.urls import open_table, try_table
from grange.proto.ids import GrainId, SiloAddress
from grange.silo import Silo
from grange.silo.config import SiloConfig
from grange.silo.environment import ConfiguredEnvironment
from grange.silo.store_checks import reports
from grange.storage.sets import Stamp
from grange.storage.urls import open_storage, try_storage
from grange.testing.contracts.membership_samples import NOON, a_silo, insert

PAGE = Path(__file__).parents[2] / "docs" / "operations" / "configuration.md"
ANN = GrainId("cart", "ann")
WRITER = SiloAddress("10.0.0.1", 11111, 1)


def documented_grants(role: str) -> str:
    """The SQL of the page, for this role."""
    found = re.search(r"<!-- grants: postgres -->\n```sql\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert found is not None
    return found[1].replace(" TO app;", f" TO {role};")


class Database:
    """A database of an owner, and a role of its own for the silos."""

    def __init__(self, url: str, role: str, owner: asyncpg.Connection) -> None:
        self.url = url
        self.role = role
        self._owner = owner
        parts = urlsplit(url)
        self.app = urlunsplit(parts._replace(netloc=parts.netloc.replace("postgres@", f"{role}@")))

    async def run(self, sql: str) -> None:
        """Run as the owner."""
        await self._owner.execute(sql.replace("APP", self.role))

    async def migrate(self) -> None:
        async with open_storage(self.url, "svc"), open_table(self.url, "one"):
            pass

    async def grant(self) -> None:
        await self.run(documented_grants(self.role))


@pytest.fixture
async def database(postgres_url: str) -> AsyncIterator[Database]:
    async with a_role(postgres_url) as database:
        yield database


@asynccontextmanager
async def a_role(url: str) -> AsyncIterator[Database]:
    owner = await asyncpg.connect(url)
    role = f"app_{secrets.token_hex(4)}"
    await owner.execute(f"REVOKE ALL ON SCHEMA public FROM PUBLIC; CREATE ROLE {role} LOGIN")
    name = await owner.fetchval("SELECT current_database()")
    await owner.execute(f"REVOKE TEMPORARY ON DATABASE {name} FROM PUBLIC")
    await owner.execute("ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC")
    try:
        yield Database(url, role, owner)
    finally:
        await owner.execute(f"DROP OWNED BY {role}")
        await owner.execute(f"DROP ROLE {role}")
        await owner.close()


class Cart(Grain, name="cart"):
    def __init__(self, state: PersistentState[list[str]]) -> None:
        self.state = state

    async def add(self, sku: str) -> int:
        self.state.value.append(sku)
        await self.state.write()
        return len(self.state.value)

    async def empty(self) -> None:
        await self.state.clear()


async def test_a_silo_lives_with_the_documented_rights(database: Database) -> None:
    """Start, join, write and clear state, leave."""
    await database.migrate()
    await database.grant()
    silo = Silo(grains=[Cart], membership=database.app, storage=database.app, port=0, gateway_port=0)
    async with silo, Client([silo.gateway]) as client:
        cart = client.get_grain(Cart, "ann")
        assert [await cart.add("apple"), await cart.add("pear")] == [1, 2]
        await cart.empty()
        assert await cart.add("apple") == 1
    async with open_table(database.app, "default") as table:
        assert [row.member.status for row in (await table.read()).rows] == [SiloStatus.DEAD]


async def test_deaths_cleanup_and_rebuild_work_with_the_documented_rights(database: Database) -> None:
    await database.migrate()
    await database.grant()
    async with open_storage(database.app, "svc") as storage:
        await storage.write(ANN, "s", b"1", None, stamp=Stamp(WRITER, 1))
        await storage.fence([WRITER])
        with pytest.raises(Exception, match="was declared dead"):
            await storage.write(ANN, "s", b"2", "1", stamp=Stamp(WRITER, 2))
    async with open_table(database.app, "one") as table:
        known = await insert(table, a_silo(1, SiloStatus.DEAD))
        assert await table.alive(a_silo(1).address, NOON)
        assert await table.cleanup(NOON + timedelta(days=1)) == 1
        seen = (await table.read()).version
        assert seen.number == known.version.number + 1
        assert await table.rebuild([a_silo(2)], seen, seen.number + 1)


async def test_the_trial_leaves_nothing_and_finds_nothing_wrong(database: Database) -> None:
    await database.migrate()
    await database.grant()
    findings = [*await try_table(database.app, "one"), *await try_storage(database.app, "svc")]
    assert [finding.level for finding in findings] == ["ok", "ok"]
    owner = await asyncpg.connect(database.url)
    tables = ("grange_state", "grange_dead_silos", "grange_membership_silo", "grange_membership_version")
    assert [await owner.fetchval(f"SELECT count(*) FROM {name}") for name in tables] == [0, 0, 0, 0]
    await owner.close()


async def test_a_trial_of_an_empty_database_makes_no_table(postgres_url: str) -> None:
    assert [each.level for each in await try_table(postgres_url, "one")] == ["ok"]
    assert [each.level for each in await try_storage(postgres_url, "svc")] == ["ok"]
    owner = await asyncpg.connect(postgres_url)
    assert await owner.fetchval("SELECT count(*) FROM pg_tables WHERE tablename LIKE 'grange%'") == 0
    await owner.close()


async def test_many_silos_try_one_empty_database_at_once(postgres_url: str) -> None:
    """Trials make the tables too, and roll them back, while other silos make them to stay."""
    config = SiloConfig(membership=postgres_url, storage=postgres_url)

    async def start() -> None:
        environment = ConfiguredEnvironment(config)
        async with environment.table() as table, environment.storages():
            assert (await table.read()).version.number == 0

    await asyncio.gather(*(start() for _ in range(5)))


FAULTS = {
    "no tables, and no right to make them": ("GRANT USAGE ON SCHEMA public TO APP", False, "run `grange migrate`"),
    "no right to see the schema": ("REVOKE USAGE ON SCHEMA public FROM APP", True, "GRANT USAGE on it"),
    "no right to read versions": ("REVOKE SELECT ON grange_schema FROM APP", True, "GRANT SELECT ON grange_schema TO"),
    "no right to write state": ("REVOKE UPDATE ON grange_state FROM APP", True, "DELETE ON grange_state TO"),
    "no right to record deaths": ("REVOKE INSERT ON grange_dead_silos FROM APP", True, "ON grange_dead_silos TO"),
    "no right to keep answers": ("REVOKE INSERT ON grange_inbox FROM APP", True, "DELETE ON grange_inbox TO"),
    "no right to change reminders": ("REVOKE DELETE ON grange_reminder FROM APP", True, "DELETE ON grange_reminder TO"),
    "no right to the index": ("REVOKE SELECT ON grange_index FROM APP", True, "DELETE ON grange_index TO"),
    "no right to join": (
        "REVOKE INSERT ON grange_membership_silo FROM APP", True,
        "GRANT SELECT, INSERT, UPDATE, DELETE ON grange_membership_silo TO",
    ),
    "no right to the version": ("REVOKE UPDATE ON grange_membership_version FROM APP", True, "ON grange_membership_v"),
    "no right to a function": (
        "REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA public FROM APP", True, "GRANT EXECUTE ON FUNCTION grange_",
    ),
    "rows that the user may not write": ("ALTER TABLE grange_state ENABLE ROW LEVEL SECURITY", True, "add a policy"),
    "a role that may only read": (
        "ALTER ROLE APP SET default_transaction_read_only = on", True, "default_transaction_read_only = off",
    ),
    "tables in another schema": (
        "CREATE SCHEMA other; GRANT USAGE ON SCHEMA other TO APP; ALTER ROLE APP SET search_path = other", True,
        "search_path",
    ),
    "a role that may not log in": ("ALTER ROLE APP NOLOGIN", True, "LOGIN"),
    "an upgrade that another user must make": (
        "DELETE FROM grange_schema WHERE component = 'storage' AND version > 1", True,
        "run `grange migrate` once, as the owner",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_missing_right_stops_the_start_and_is_named(fault: str, database: Database) -> None:
    """The doctor finds it bad, with the same words."""
    sql, migrated, remedy = FAULTS[fault]
    if migrated:
        await database.migrate()
        await database.grant()
    await database.run(sql)
    config = SiloConfig(membership=database.app, storage=database.app, port=0, gateway_port=0)
    with pytest.raises(ConfigurationError) as caught:
        async with Silo(grains=[Cart], membership=database.app, storage=database.app, port=0, gateway_port=0):
            pass
    assert remedy in str(caught.value)
    (report,) = await reports(config)
    bad = [f"{each.found} {each.remedy}" for each in report.findings if each.level == "bad"]
    assert any(remedy in text for text in bad), bad


async def test_tables_in_another_schema_work_by_the_search_path(database: Database) -> None:
    await database.run(
        "CREATE SCHEMA shop; ALTER ROLE APP SET search_path = shop; GRANT USAGE, CREATE ON SCHEMA shop TO APP"
    )
    async with open_storage(database.app, "svc") as storage, open_table(database.app, "one") as table:
        assert await storage.write(ANN, "s", b"1", None) == "1"
        await insert(table, a_silo(1))


async def test_a_silo_without_the_right_to_delete_starts_with_a_warning(database: Database) -> None:
    """Roles from before this version have SELECT, INSERT and UPDATE only."""
    await database.migrate()
    await database.grant()
    await database.run("REVOKE DELETE ON grange_membership_silo, grange_dead_silos FROM APP")
    (finding,) = await try_table(database.app, "one")
    assert finding.level == "warn"
    assert "DELETE ON grange_membership_silo TO" in finding.found
    assert [each.level for each in await try_storage(database.app, "svc")] == ["ok"]
    async with Silo(grains=[Cart], membership=database.app, storage=database.app, port=0, gateway_port=0):
        pass
