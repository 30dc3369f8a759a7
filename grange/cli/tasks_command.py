"""`grange tasks`: what the tasks of a silo wait for."""

from __future__ import annotations

import click
import msgspec

from grange.cli.cluster_wide import ask_first, chosen
from grange.cli.completion import complete_silo
from grange.cli.output import Output
from grange.cli.remote import RemoteCluster, asks_a_cluster
from grange.client.client import Client
from grange.client.questions import Question
from grange.counted import counted
from grange.proto.inspection import TASKS, Tasks


@click.command("tasks")
@click.argument("silo", shell_complete=complete_silo)
@asks_a_cluster
def tasks_command(cluster: RemoteCluster, output: Output, silo: str) -> None:
    """The tasks of the event loop of one SILO, with the stacks of those that wait."""

    async def question(client: Client) -> Tasks:
        return await ask_first(client, chosen(client.view, silo), Question(TASKS, b"", Tasks))

    tasks = cluster.ask(question)
    lines = [line for row in tasks.rows for line in (f"{row.name}: {row.code}", *row.stack)]
    output.show(msgspec.to_builtins(tasks), *lines, f"{len(tasks.rows)} of {counted(tasks.total, 'task')}")
