"""`grange logs` and `grange events`: the newest lines of all silos, and with `--follow` those to come."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import click
import msgspec

from grange.cli.cluster_wide import Answers, ask_silos, chosen, name_of
from grange.cli.completion import complete_grain_type, complete_silo
from grange.cli.output import Output
from grange.cli.remote import RemoteCluster, asks_a_cluster
from grange.cli.streams import complain, json_text, write
from grange.client.client import Client
from grange.client.questions import Question
from grange.counted import counted
from grange.errors import CallError
from grange.printable import printable
from grange.proto.ids import SiloAddress
from grange.proto.journal import EVENTS, LOGS, After, EventRow, Events, LogRow, Logs, ReadLogs
from grange.proto.management import encode

PERIOD = 1.0
"""Seconds between two questions while it follows."""

Row = LogRow | EventRow
QuestionAfter = Callable[[int], Question[Any]]
"""The question for the rows after this number."""

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


@click.command("logs")
@click.option("--follow", is_flag=True, help="Go on with the lines to come; with --json, one object a line.")
@click.option("--lines", type=click.IntRange(0, 500), default=50, show_default=True, help="Newest lines per silo.")
@click.option("--level", type=click.Choice(list(_LEVELS)), default="info", show_default=True, help="Of this or higher.")
@click.option("--contains", default="", help="With this text inside.")
@click.option("--type", "grain_type", default="", shell_complete=complete_grain_type, help="Of this grain type.")
@click.option("--trace", default="", help="Of this trace.")
@click.option("--silo", default="", shell_complete=complete_silo, help="Of this silo only.")
@asks_a_cluster
def logs_command(
    cluster: RemoteCluster, output: Output, follow: bool, lines: int, level: str, silo: str, **filters: str
) -> None:
    """The newest log lines of the silos of the cluster, in the order of their times."""

    def question(number: int) -> Question[Logs]:
        limit = lines if number < 0 else 500
        return Question(LOGS, encode(ReadLogs(number, limit, level=_LEVELS[level], **filters)), Logs)

    cluster.ask(lambda client: _Tail(client, output, silo, question).run(lines, follow, "no line matches"))


@click.command("events")
@click.option("--follow", is_flag=True, help="Go on with the events to come; with --json, one object a line.")
@click.option("--lines", type=click.IntRange(0, 500), default=50, show_default=True, help="Newest events per silo.")
@click.option("--silo", default="", shell_complete=complete_silo, help="Of this silo only.")
@asks_a_cluster
def events_command(cluster: RemoteCluster, output: Output, follow: bool, lines: int, silo: str) -> None:
    """What happened in the silos of the cluster: votes, deaths, fences, acts and more."""

    def question(number: int) -> Question[Events]:
        return Question(EVENTS, encode(After(number, lines if number < 0 else 500)), Events)

    cluster.ask(lambda client: _Tail(client, output, silo, question).run(lines, follow, "no event yet"))


class _Tail:
    """Reads from each silo after the last number that it gave."""

    def __init__(self, client: Client, output: Output, silo: str, question: QuestionAfter) -> None:
        self._client = client
        self._output = output
        self._silo = silo
        self._question = question
        self._last: dict[SiloAddress, int] = {}
        self._silent: set[SiloAddress] = set()

    async def run(self, lines: int, follow: bool, nothing: str) -> None:
        """Show the newest lines of each silo, and go on if it follows. A silo that joins is read from its start.

        `nothing`: what is said if there is none.
        """
        rows = await self._read(-lines)
        if not follow and self._output.as_json:
            self._output.show([_facts(name, row) for name, row in rows])
            return
        self._show(rows)
        if not rows and not self._output.as_json:
            complain(nothing)
        while follow:
            await asyncio.sleep(PERIOD)
            self._show(await self._read(0))

    async def _read(self, first: int) -> list[tuple[str, Row]]:
        rows: list[tuple[str, Row]] = []
        for member in chosen(self._client.view, self._silo):
            number = self._last.get(member.address, first)
            try:
                answers: Answers[Any] = await ask_silos(self._client, [member], self._question(number))
            except CallError as error:
                complain(printable(str(error)))
                raise
            for each, answer in answers.given:
                self._silent.discard(each.address)
                if isinstance(answer, Logs) and not answer.kept and each.address not in self._last:
                    complain(printable(f"{name_of(each)}: it keeps no log lines; the option keep_logs makes it"))
                if number > 0 and answer.lost:
                    lost = counted(answer.lost, "line was", "lines were")
                    complain(printable(f"{name_of(each)}: {lost} dropped before being read"))
                self._last[each.address] = answer.last
                rows += [(name_of(each), row) for row in answer.rows]
            if member.address not in self._silent and (notes := answers.notes()):
                self._silent.add(member.address)
                complain(printable(notes[0]))
        return sorted(rows, key=lambda each: (each[1].time, each[1].number))

    def _show(self, rows: list[tuple[str, Row]]) -> None:
        for name, row in rows:
            if self._output.as_json:
                write(json_text(msgspec.json.encode(_facts(name, row))))
            else:
                write(_line(name, row))


def _facts(silo: str, row: Row) -> dict[str, Any]:
    return {"silo": silo, **msgspec.to_builtins(row)}


def _line(silo: str, row: Row) -> str:
    time = datetime.fromtimestamp(row.time, UTC).strftime("%H:%M:%S.%f")[:-3]
    if isinstance(row, EventRow):
        return printable(f"{time} {silo} {row.name}: {row.text}")
    head = printable(f"{time} {silo} {logging.getLevelName(row.level)} {row.logger}: {row.text}")
    return "\n".join([head, *(f"  {printable(line)}" for line in row.error.splitlines())])
