"""`grange clients`: the clients that are connected to a cluster, and the calls of grains to their observers."""

from __future__ import annotations

import click

from grange.cli.cluster_wide import Answers, ask_silos, chosen, name_of
from grange.cli.completion import complete_silo
from grange.cli.output import Output
from grange.cli.remote import RemoteCluster, asks_a_cluster
from grange.cli.tables import Facts, duration, table_of
from grange.cli.watch import watched
from grange.client.client import Client
from grange.client.questions import Question
from grange.counted import counted
from grange.membership.model.member import Member
from grange.proto.inspection import SETUP, ConnectionRow, Setup


@click.command("clients")
@click.option("--silo", default="", shell_complete=complete_silo, help="Of this silo only.")
@asks_a_cluster
@watched
def clients_command(cluster: RemoteCluster, output: Output, silo: str) -> None:
    """The clients of the silos, with the calls of grains to their observers."""

    async def question(client: Client) -> Answers[Setup]:
        return await ask_silos(client, chosen(client.view, silo), Question(SETUP, b"", Setup))

    answers = cluster.ask(question)
    rows = [
        row_facts(member, row) for member, setup in answers.given for row in setup.connections if row.kind == "client"
    ]
    own = {name_of(member): setup.observers for member, setup in answers.given if setup.observers}
    more = sum(setup.more for _, setup in answers.given)
    table = table_of("silo", "client", "identity", "in flight", "unread bytes", "calls to observers", "last heard")
    for each in rows:
        quiet = f"{duration(each['quiet'])} ago"
        figures = (f"{each[name]:,}" for name in ("in_flight", "unread", "called"))
        table.add_texts(each["silo"], each["client"], each["identity"] or "none", *figures, quiet)
    notes = [f"{name}: {counted(count, 'observer')} of code in its own process" for name, count in own.items()]
    notes += [f"{counted(more, 'more client is', 'more clients are')} not listed"] if more else []
    facts = {"clients": rows, "own_observers": own, "more": more, "problems": answers.problem_facts()}
    output.show(facts, table, *notes, *answers.notes())


def row_facts(member: Member, row: ConnectionRow) -> Facts:
    """One connection of a client."""
    return {
        "silo": name_of(member),
        "client": row.peer,
        "identity": row.identity,
        "in_flight": row.pending,
        "unread": row.queue,
        "called": row.called,
        "quiet": round(row.quiet, 1),
    }
