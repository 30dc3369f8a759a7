"""`grange audit`: acts, refused callers and audited calls, from the memory of all silos, or from the table."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import click
import msgspec

from grange.audit.provider import MOST_ROWS, AuditFilter, KeptRow, Origin, fits
from grange.audit.urls import check_url, open_audit
from grange.cli.cluster_wide import Answers, ask_silos, chosen, name_of
from grange.cli.completion import complete_silo
from grange.cli.output import Output, Rows
from grange.cli.remote import RemoteCluster, asks_a_cluster
from grange.cli.tables import table_of
from grange.cli.watch import watched
from grange.client.client import Client
from grange.client.questions import Question
from grange.databases.errors import DatabaseError
from grange.databases.schemas import schema_of
from grange.databases.urls import shown_url
from grange.errors import ConfigurationError, StorageUnavailable
from grange.proto.acts import AUDIT, KINDS, Audit, AuditRow
from grange.proto.journal import After
from grange.proto.management import encode

COLUMNS = ("time", "silo", "kind", "actor", "via", "role", "action", "target", "outcome", "reason", "text", "trace")

OF_TABLE = ("url", "before")
"""Options that have no effect without `--table`."""


class Since(click.ParamType[float]):
    """A date, or a date and a time, in UTC unless it names another zone; as seconds since 1970."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """click: the value, or an error."""
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no time such as 2026-11-29 or 2026-11-29T14:30", param, ctx)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


@click.command("audit")
@click.option("--silo", default="", shell_complete=complete_silo, help="Of this silo only.")
@click.option("--who", default="", metavar="TEXT", help="Rows whose actor, or who acts for it, contains this.")
@click.option("--what", default="", metavar="TEXT", help="Rows whose action or target contains this.")
@click.option("--kind", type=click.Choice(KINDS), help="Acts of operators, audited calls, or refused callers.")
@click.option("--since", type=Since(), metavar="TIME", help="Rows from this time on, such as 2026-11-29T14:30 (UTC).")
@click.option("--limit", type=click.IntRange(1, MOST_ROWS), default=50, show_default=True, help="Newest rows.")
@click.option("--table", is_flag=True, help="Read the database of the option audit, and not the silos.")
@click.option("--url", metavar="URL", default="", help="With --table: that database (default: as a silo here has it).")
@click.option("--before", type=click.IntRange(1), metavar="ID", help="With --table: the rows before this one.")
@asks_a_cluster
@watched
def audit_command(cluster: RemoteCluster, output: Output, silo: str, table: bool, **options: Any) -> None:
    """What operators did, whom silos refused, and calls of @audited methods."""
    useless = next((name for name in OF_TABLE if options[name] and not table), None)
    if useless is not None:
        raise click.UsageError(f"--{useless} has no effect without --table")
    if table and silo:
        raise click.UsageError("--silo has no effect with --table; use --what")
    wanted = AuditFilter(
        who=options["who"], what=options["what"], kind=options["kind"] or "", since=options["since"] or 0.0,
        before=options["before"] or 0, limit=options["limit"],
    )  # fmt: skip
    if table:
        _show_table(output, asyncio.run(_read(cluster.name, options["url"] or cluster.here.audit, wanted)), wanted)
    else:
        _show_silos(cluster, output, silo, wanted)


def _show_silos(cluster: RemoteCluster, output: Output, silo: str, wanted: AuditFilter) -> None:
    async def question(client: Client) -> Answers[Audit]:
        asked = Question(AUDIT, encode(After(-_asked(wanted), _asked(wanted))), Audit)
        return await ask_silos(client, chosen(client.view, silo), asked)

    answers = cluster.ask(question)
    found = [(member, row) for member, audit in answers.given for row in audit.rows if fits(row, wanted)]
    found.sort(key=lambda each: (each[1].time, each[1].number))
    rows = found[-wanted.limit :]
    facts = {
        "rows": [{"silo": str(member.address), **msgspec.to_builtins(row)} for member, row in rows],
        "problems": answers.problem_facts(),
    }
    shown = _table((name_of(member), row) for member, row in rows)
    output.show(facts, shown if rows else "no such row yet" if _filters(wanted) else "no row yet", *answers.notes())


def _show_table(output: Output, found: Sequence[KeptRow], wanted: AuditFilter) -> None:
    before = found[-1].id if len(found) == wanted.limit else None
    rows = list(reversed(found))
    facts = {
        "rows": [{"id": each.id, "silo": each.silo, **msgspec.to_builtins(each.row)} for each in rows],
        "before": before,
    }
    more = () if before is None else (f"older rows: --before {before}",)
    output.show(facts, _table((each.silo, each.row) for each in rows) if rows else "no such row", *more)


async def _read(cluster: str, url: str, wanted: AuditFilter) -> list[KeptRow]:
    """The rows of the table. It is not made by reading it."""
    if not url:
        raise ConfigurationError("there is no table: no option audit is set here; name the database by --url")
    check_url(url)
    try:
        state = await schema_of(url, "audit")
        if state is None or not state.found:
            raise ConfigurationError(f"there is no table grange_audit at {shown_url(url)}")
        async with open_audit(url, Origin(cluster, "")) as table:
            return await table.read(wanted)
    except DatabaseError as error:
        raise StorageUnavailable(f"the table of the audit: {error}") from error


def _filters(wanted: AuditFilter) -> bool:
    return bool(wanted.who or wanted.what or wanted.kind or wanted.since)


def _asked(wanted: AuditFilter) -> int:
    return 200 if _filters(wanted) else min(wanted.limit, 200)


def _table(rows: Iterable[tuple[str, AuditRow]]) -> Rows:
    table = table_of(*COLUMNS)
    for silo, row in rows:
        time = datetime.fromtimestamp(row.time, UTC).isoformat(timespec="seconds")
        role = row.level.name.lower() if row.level else ""
        who = (row.kind, row.actor, row.via, role)
        table.add_texts(time, silo, *who, row.action, row.target, row.outcome, row.reason, row.text, row.trace[:8])
    return table
