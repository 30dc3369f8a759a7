"""`grange migrate`: brings the tables of a configuration up to date, by a user that may, so that silos need not.

Silos do the same when they open a store. Redis has no tables.
"""

from __future__ import annotations

import asyncio

import click

from grange.cli.completion import complete_silo_variable
from grange.cli.doctor import config_of
from grange.cli.naming import naming_options
from grange.cli.streams import write
from grange.databases.urls import shown_url
from grange.printable import printable
from grange.silo.config import SiloConfig
from grange.silo.environment import ConfiguredEnvironment
from grange.silo.store_checks import stores_of


@click.command("migrate")
@click.argument("app", metavar="[MODULE:SILO]", required=False, shell_complete=complete_silo_variable)
@click.option("--membership", metavar="URL", help="Membership table (default: as a silo here would use).")
@click.option("--storage", metavar="URL", help="Default storage (default: as a silo here would use).")
def migrate_command(app: str | None, **urls: str | None) -> None:
    """Make the tables of a silo's stores, or bring them up to date, as the user that their URLs name.

    Silos do this at their start. Run it before them if their own user may not create tables.
    """
    given = {name: url for name, url in urls.items() if url is not None}
    with naming_options(given):
        config = config_of(app, given)
        asyncio.run(_open(config))
    for url, names in stores_of(config).items():
        write(printable(f"{', '.join(names)}: {shown_url(url)} is up to date"))


async def _open(config: SiloConfig) -> None:
    environment = ConfiguredEnvironment(config)
    async with environment.table(), environment.storages():
        pass
