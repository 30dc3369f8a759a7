"""`grange doctor`: checks the stores of a configuration, and tries what a silo would do with them.

It leaves nothing behind.

The same checks and trials run at the start of a silo; see `silo/store_checks.py`.
"""

from __future__ import annotations

import asyncio
from typing import Any

import click

from grange.cli.completion import complete_silo_variable
from grange.cli.naming import naming_options
from grange.cli.output import Output, Rows
from grange.cli.silo_import import named_silo
from grange.counted import counted
from grange.databases.findings import Level, ok, warn
from grange.security.policy import Mode
from grange.silo.config import SiloConfig
from grange.silo.definition import SiloDefinition
from grange.silo.rule_notes import notes_of
from grange.silo.secret_options import filled_now
from grange.silo.store_checks import StoreReport, reports

COLOURS = (("ok", "green"), ("warn", "yellow"), ("bad", "red"))


@click.command("doctor")
@click.argument("app", metavar="[MODULE:SILO]", required=False, shell_complete=complete_silo_variable)
@click.option("--membership", metavar="URL", help="Membership table (default: as a silo here would use).")
@click.option("--storage", metavar="URL", help="Default storage (default: as a silo here would use).")
@click.option("--strict", is_flag=True, help="Fail for warnings, too.")
@click.option("--json", "as_json", is_flag=True, help="Show the answer as JSON.")
def doctor_command(app: str | None, strict: bool, as_json: bool, **urls: str | None) -> None:
    """Check the stores of a silo (roles, versions, persistence, eviction) and try what a silo does; nothing stays.

    Exit code 1 when something cannot work or cannot be reached.
    """
    given = {name: url for name, url in urls.items() if url is not None}
    with naming_options(given):
        definition = _definition_of(app, given)
        config = config_of(app, given)
        store_reports = [*asyncio.run(reports(config)), *_rule_reports(config, definition)]
    Output(as_json, fits=False).show(facts(store_reports), _table(store_reports))
    levels = {finding.level for report in store_reports for finding in report.findings}
    if Level.BAD in levels or (strict and Level.WARN in levels):
        raise click.exceptions.Exit(1)


def facts(store_reports: list[StoreReport]) -> list[dict[str, Any]]:
    """The findings for programs: one entry for each check. The keys are part of the command line's contract."""
    return [
        {
            "stores": list(report.stores),
            "place": report.place,
            "check": finding.subject,
            "level": str(finding.level),
            "found": finding.found,
            "remedy": finding.remedy,
        }
        for report in store_reports
        for finding in report.findings
    ]


def _table(store_reports: list[StoreReport]) -> Rows:
    table = Rows()
    for column in ("store", "place", "check", "", "found", "what to do"):
        table.add_column(column, no_wrap=column == "check", overflow="fold")
    colours = dict(COLOURS)
    for each in facts(store_reports):
        table.add_texts(
            ", ".join(each["stores"]),
            each["place"],
            each["check"],
            each["level"],
            each["found"],
            each["remedy"],
            style=None if each["level"] == "ok" else colours[each["level"]],
        )
    return table


def config_of(app: str | None, overrides: dict[str, str]) -> SiloConfig:
    """The configuration as a silo on this machine reads it, without the check of its address: nothing listens here."""
    definition = _definition_of(app, overrides)
    if definition is None:
        values: dict[str, Any] = {**overrides, "insecure": True}
        return filled_now(SiloConfig(**values, advertise="localhost"))
    return filled_now(definition.config)


def _definition_of(app: str | None, overrides: dict[str, str]) -> SiloDefinition | None:
    values: dict[str, Any] = {**overrides, "insecure": True}
    return None if app is None else named_silo(app).definition(**values)


def _rule_reports(config: SiloConfig, definition: SiloDefinition | None) -> list[StoreReport]:
    """The notes about the rules of a silo. Without its classes no rule is compared with them."""
    if not config.allow and config.authorization == "enforce":
        return []
    rules = config.rules if definition is not None else ()
    methods = {} if definition is None else definition.methods()
    notes = notes_of(rules, Mode(config.authorization), methods)
    found = [warn("rules", note, "docs/authorization.md has the words of rules") for note in notes]
    count = counted(len(config.allow), "rule")
    return [StoreReport(("authorization",), "", tuple(found) or (ok("rules", count),))]
