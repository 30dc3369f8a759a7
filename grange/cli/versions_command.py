"""`grange versions` and `grange version-rules`: the versions of interfaces in a cluster, and which serve callers."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from grange.cli.act_outcome import carry_out
from grange.cli.cluster_wide import name_of
from grange.cli.output import Output
from grange.cli.remote import RemoteCluster, asks_a_cluster
from grange.cli.tables import table_of
from grange.client.client import Client
from grange.membership.model.member import View
from grange.placement.versions import Compatibility, Selection
from grange.proto.acts import Act, Action


@click.command("versions")
@asks_a_cluster
def versions_command(cluster: RemoteCluster, output: Output) -> None:
    """The versions of interfaces that the active silos host, by grain type."""

    async def question(client: Client) -> Any:
        return client.view

    facts = version_facts(cluster.ask(question))
    table = table_of("grain type", "interface", "version", "silos")
    for each in facts:
        table.add_texts(each["type"], each["interface"], str(each["version"]), ", ".join(each["silos"]))
    output.show(facts, table)


@click.command("version-rules")
@click.argument("interface", default="")
@click.option(
    "--compatibility",
    type=click.Choice([str(each) for each in Compatibility]),
    help="Which hosted versions serve a caller.",
)
@click.option(
    "--selection",
    type=click.Choice([str(each) for each in Selection]),
    help="Which silos that serve a caller get new grains.",
)
@click.option("--reset", is_flag=True, help="Back to the configured rules.")
@click.option("--reason", required=True, help="Why, for the audit.")
@asks_a_cluster
def version_rules_command(
    cluster: RemoteCluster, output: Output, interface: str, reset: bool, reason: str, **given: str | None
) -> None:
    """Set which versions serve the callers of an INTERFACE, or the default, on every silo until it ends.

    What is not given has the built-in rule: backward, and all.
    """
    rules = {name: value for name, value in given.items() if value}
    if reset == bool(rules):
        raise click.UsageError("give --compatibility or --selection, or --reset")
    values = msgspec.json.encode({"rules": None if reset else rules}).decode()
    carry_out(cluster, output, Act(Action.VERSION_RULES, interface, values, reason))


def version_facts(view: View) -> list[dict[str, Any]]:
    """Each version of each interface of each grain type, with the names of the active silos that host it."""
    silos: dict[tuple[str, str, int], list[str]] = {}
    for member in view.active:
        for grain_type, versions in member.versions.items():
            for interface, version in versions.items():
                silos.setdefault((grain_type, interface, version), []).append(name_of(member))
    return [
        {"type": grain_type, "interface": interface, "version": version, "silos": sorted(names)}
        for (grain_type, interface, version), names in sorted(silos.items())
    ]
