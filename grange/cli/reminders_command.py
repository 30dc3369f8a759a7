"""`grange reminders`: the reminders and jobs that are due, parked, or of one grain; cancels and retries them."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import click
import msgspec

from grange.cli.act_outcome import carry_out
from grange.cli.cluster_wide import Answers, ask_first, ask_silos, chosen
from grange.cli.completion import complete_grain
from grange.cli.grain_arguments import no_key_apart
from grange.cli.json_call import grain_id_from
from grange.cli.output import Output, Rows
from grange.cli.remote import RemoteCluster, Seconds, asks_a_cluster
from grange.cli.tables import Facts, duration, table_of
from grange.cli.watch import watched
from grange.client.client import Client
from grange.client.questions import Question
from grange.counted import counted
from grange.proto.acts import Act, Action
from grange.proto.ids import GrainId
from grange.proto.inspection import REMINDERS, FindReminders, FoundReminders, StoredReminder
from grange.proto.management import encode

WITHIN = 300.0
"""Seconds within which what is due soon is due."""

ACTIONS = {"cancel": Action.CANCEL_REMINDER, "retry": Action.RETRY_REMINDER}


@click.command("reminders")
@click.argument("grain", metavar="[TYPE/KEY]", default="", shell_complete=complete_grain)
@click.argument("apart", metavar="", nargs=-1, expose_value=False, callback=no_key_apart)
@click.option("--parked", is_flag=True, help="Those that have failed too often, and come no more by themselves.")
@click.option("--within", type=Seconds(0), metavar="SECONDS", help="Those that are due in so many.  [default: 300]")
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True, help="Most rows of one silo.")
@click.option("--cancel", metavar="NAME", default="", help="Remove this reminder of the grain, or the job of this id.")
@click.option("--retry", metavar="NAME", default="", help="Deliver this one, which has failed, again.")
@click.option("--reason", default="", help="Why, for the audit.")
@click.option("--yes", is_flag=True, help="Do not ask before it is done.")
@asks_a_cluster
@watched
def reminders_command(
    cluster: RemoteCluster, output: Output, grain: str, parked: bool, within: float | None, **options: object
) -> None:
    """The reminders and jobs that are due soon, parked or of one grain; cancel one, or retry one that failed."""
    grain_id = grain_id_from(grain) if grain else None
    cancel, retry = str(options["cancel"]), str(options["retry"])
    if within is not None and (parked or grain):
        raise click.UsageError("--within has no effect on those that are parked, or of one grain: all are listed")
    if parked and grain:
        raise click.UsageError("--parked has no effect on those of one grain: all are listed")
    if cancel and retry:
        raise click.UsageError("--cancel and --retry contradict each other")
    if verb := "cancel" if cancel else "retry" if retry else "":
        if grain_id is None:
            raise click.UsageError(f"--{verb} needs the grain: TYPE/KEY")
        if output.as_json and not options["yes"]:
            raise click.UsageError("--json needs --yes, because a program cannot be asked")
        values = msgspec.json.encode({"name": cancel or retry}).decode()
        act = Act(ACTIONS[verb], str(grain_id), values, str(options["reason"]))
        carry_out(cluster, output, act, confirm=not options["yes"])
        return
    asked = FindReminders(grain_id, parked, WITHIN if within is None else within, int(str(options["limit"])))
    _report(cluster, output, asked)


def _report(cluster: RemoteCluster, output: Output, asked: FindReminders) -> None:
    question = Question(REMINDERS, encode(asked), FoundReminders)

    async def ask_all(client: Client) -> Answers[FoundReminders]:
        return await ask_silos(client, chosen(client.view, ""), question)

    async def ask_any(client: Client) -> FoundReminders:
        return await ask_first(client, chosen(client.view, ""), question)

    if asked.grain_id is not None:
        found, notes, problems = [cluster.ask(ask_any)], [], []
    else:
        answers = cluster.ask(ask_all)
        found, notes, problems = [each for _, each in answers.given], answers.notes(), answers.problem_facts()
    rows = sorted((row for each in found for row in each.rows), key=_order)
    if any(each.more for each in found):
        notes = [f"there are more than {counted(len(rows), 'row')}: raise --limit, or shorten --within", *notes]
    now = max((each.now for each in found), default=0.0) or time.time()
    facts = {"now": now, "reminders": [_facts(row) for row in rows], "problems": problems}
    output.show(facts, _table(rows, now) if rows else "no reminder", *notes)


def _order(row: StoredReminder) -> tuple[float, GrainId, str]:
    return (float("inf") if row.due is None else row.due), row.grain_id, row.name


def _facts(row: StoredReminder) -> Facts:
    return {**msgspec.to_builtins(row), "grain_id": str(row.grain_id)}


def _table(rows: list[StoredReminder], now: float) -> Rows:
    table = table_of("grain", "name", "due", "schedule", "missed", "failed", "error")
    for row in rows:
        due = "parked" if row.due is None else f"in {duration(row.due - now)}" if row.due >= now else _date(row.due)
        name = f"{row.name} ({row.job})" if row.job else row.name
        missed = row.missed if row.schedule != "once" else ""  # what comes once is never missed
        failed = str(row.failed) if row.failed else ""
        table.add_texts(str(row.grain_id), name, due, row.schedule, missed, failed, row.error)
    return table


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
