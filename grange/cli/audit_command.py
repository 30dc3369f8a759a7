"""`grange audit`: the acts of operators, from all silos."""

from __future__ import annotations

from datetime import UTC, datetime

import click
import msgspec

from grange.cli.cluster_wide import Answers, ask_silos, chosen, name_of
from grange.cli.completion import complete_silo
from grange.cli.output import Output
from grange.cli.remote import RemoteCluster, asks_a_cluster
from grange.cli.tables import table_of
from grange.cli.watch import watched
from grange.client.client import Client
from grange.client.questions import Question
from grange.proto.acts import AUDIT, Audit
from grange.proto.journal import After
from grange.proto.management import encode


@click.command("audit")
@click.option("--silo", default="", shell_complete=complete_silo, help="Of this silo only.")
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True, help="Newest rows per silo.")
@asks_a_cluster
@watched
def audit_command(cluster: RemoteCluster, output: Output, silo: str, limit: int) -> None:
    """What operators did on the silos of the cluster, the newest last."""

    async def question(client: Client) -> Answers[Audit]:
        asked = Question(AUDIT, encode(After(-limit, limit)), Audit)
        return await ask_silos(client, chosen(client.view, silo), asked)

    answers = cluster.ask(question)
    rows = [(member, row) for member, audit in answers.given for row in audit.rows]
    rows.sort(key=lambda each: (each[1].time, each[1].number))
    table = table_of("time", "silo", "actor", "role", "action", "target", "outcome", "reason", "text")
    for member, row in rows:
        time = datetime.fromtimestamp(row.time, UTC).isoformat(timespec="seconds")
        who = (row.actor, row.level.name.lower())
        table.add_texts(time, name_of(member), *who, row.action, row.target, row.outcome, row.reason, row.text)
    facts = {
        "rows": [{"silo": str(member.address), **msgspec.to_builtins(row)} for member, row in rows],
        "problems": answers.problem_facts(),
    }
    output.show(facts, table if rows else "no act yet", *answers.notes())
