"""`grange migrate`: brings the tables of a configuration up to date, by a user that may, so that silos need not.

Silos do the same when they open a store. Redis has no tables.
"""

from __future__ import annotations

import asyncio
from typing import Any

import click
import msgspec

from grange.audit.provider import Origin
from grange.cli.completion import complete_silo_variable
from grange.cli.doctor import config_of
from grange.cli.exit_codes import ExitCode
from grange.cli.naming import naming_options
from grange.cli.output import Output, Rows
from grange.databases.errors import DatabaseError
from grange.databases.migrations import SchemaState
from grange.databases.schemas import schema_of
from grange.databases.urls import shown_url
from grange.errors import StorageUnavailable
from grange.silo.config import SiloConfig
from grange.silo.environment import ConfiguredEnvironment
from grange.silo.store_checks import stores_of


class Schema(msgspec.Struct, frozen=True):
    """The tables of one use of a store. `state` None: this kind of store has none."""

    stores: tuple[str, ...]
    place: str
    component: str
    state: SchemaState | None

    @property
    def is_behind(self) -> bool:
        """Whether tables are missing or old."""
        return self.state is not None and self.state.found < self.state.newest


@click.command("migrate")
@click.argument("app", metavar="[MODULE:SILO]", required=False, shell_complete=complete_silo_variable)
@click.option("--membership", metavar="URL", help="Membership table (default: as a silo here would use).")
@click.option("--storage", metavar="URL", help="Default storage (default: as a silo here would use).")
@click.option("--check", is_flag=True, help="Change nothing; exit code 1 if tables are missing or old.")
@click.option("--json", "as_json", is_flag=True, help="Show the answer as JSON.")
def migrate_command(app: str | None, check: bool, as_json: bool, **urls: str | None) -> None:
    """Make the tables of a silo's stores, or bring them up to date, as the user that their URLs name.

    Silos do this at their start. Run it before them if their own user may not create tables. Several may run at once,
    also beside silos. Tables that are newer than this grange are refused with exit code 2.
    """
    given = {name: url for name, url in urls.items() if url is not None}
    with naming_options(given):
        config = config_of(app, given)
        before = asyncio.run(_schemas(config))
        if not check:
            asyncio.run(_open(config))
    Output(as_json, fits=False).show([_facts(each, check) for each in before], _table(before, check))
    if check and any(each.is_behind for each in before):
        raise click.exceptions.Exit(ExitCode.FAILED)


async def _schemas(config: SiloConfig) -> list[Schema]:
    """The tables of each store, for each use. Raises ConfigurationError for newer ones, and StorageUnavailable."""
    uses: dict[tuple[str, str], list[str]] = {}
    for url, names in stores_of(config).items():
        for name in names:
            uses.setdefault((url, name.partition(" ")[0]), []).append(name)
    return [await _schema(config, url, component, names) for (url, component), names in uses.items()]


async def _schema(config: SiloConfig, url: str, component: str, names: list[str]) -> Schema:
    storage = names[0].partition(" ")[2]
    option = config.storage_option(storage) if storage else (config.membership_option,)
    option = ("audit",) if component == "audit" else option
    try:
        with config.naming(*option):
            state = await schema_of(url, component)
    except DatabaseError as error:
        raise StorageUnavailable(f"{', '.join(names)}: {error}") from error
    return Schema(tuple(names), shown_url(url), component, state)


async def _open(config: SiloConfig) -> None:
    environment = ConfiguredEnvironment(config)
    async with environment.table(), environment.storages(), environment.audit_table(Origin(config.cluster, "")):
        pass


def _facts(schema: Schema, check: bool) -> dict[str, Any]:
    """What programs read. `found` is the version before the command, `version` the one that this grange needs."""
    state = schema.state
    return {
        "stores": list(schema.stores),
        "place": schema.place,
        "component": schema.component,
        "found": None if state is None else state.found,
        "version": None if state is None else state.newest,
        "up_to_date": not (check and schema.is_behind),
        "migrated": schema.is_behind and not check,
    }


def _table(schemas: list[Schema], check: bool) -> Rows:
    table = Rows("store", "place", "version", "")
    for each in schemas:
        version = "" if each.state is None else str(each.state.found)
        text = "has no tables" if each.state is None else "is up to date"
        if each.state is not None and each.is_behind:
            version = f"{each.state.found} of {each.state.newest}" if check else str(each.state.newest)
            text = "tables are missing" if each.state.found == 0 else "tables are old"
            text = text if check else f"is up to date: migrated from {each.state.found}"
        table.add_texts(", ".join(each.stores), each.place, version, text)
    return table
