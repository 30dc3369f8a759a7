"""`grange dashboard`: the dashboard in a process of its own; `grange dashboard passwd`: the hash of a password."""

from __future__ import annotations

import secrets
from importlib import import_module

import click

from grange.cli.naming import naming_options
from grange.cli.output import Output
from grange.cli.process import StopSignals
from grange.cli.remote import RemoteCluster, asks_a_cluster
from grange.cli.streams import write
from grange.client.client import Client
from grange.dashboard.login import hash_password
from grange.proto.acts import Level
from grange.proto.ids import endpoint_of
from grange.proto.management import STATUS
from grange.silo.admin_sockets import listen
from grange.silo.config import SiloConfig
from grange.silo.option_values import is_loopback
from grange.silo.secret_options import filled_now

SHORTEST = 12
"""Fewest characters of a password."""


@click.group("dashboard", invoke_without_command=True)
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0: a free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--allow-host", multiple=True, metavar="NAME", help="A further name by which browsers reach it.")
@click.option("--insecure", is_flag=True, help="Allow an address other than loopback, without TLS.")
@asks_a_cluster
def dashboard_command(
    cluster: RemoteCluster, output: Output, port: int, host: str, allow_host: tuple[str, ...], insecure: bool
) -> None:
    """Serve the dashboard of a cluster from this machine, until Ctrl-C, and print the URL that opens it.

    Users come from the table [dashboard] of grange.toml; the role of --token-file limits them all.
    """
    if click.get_current_context().invoked_subcommand:
        return
    if not (insecure or is_loopback(host)):
        raise click.UsageError(f"{host} is not loopback, and passwords would travel in the clear: give --insecure, too")
    config = filled_now(SiloConfig(insecure=True, advertise="localhost"))
    token = secrets.token_urlsafe(32)

    async def question(client: Client) -> None:
        await client.ask(client.gateways[0], STATUS)  # a wrong token is an error now, and not an empty page later
        with naming_options({"host", "port"}):
            listening = await listen(host, port)
        place = endpoint_of(host, listening.getsockname()[1])
        url = f"http://{place}/#token={token}"
        # Only here, because it takes long to import: `passwd` and a wrong option do without.
        standalone = import_module("grange.dashboard.standalone")
        standing = standalone.Standing(
            cluster.name,
            {Level.ADMIN: token},
            config.dashboard_options(),
            config.actions,
            (host, "localhost", *allow_host),
        )
        with listening:
            await standalone.serve(client, standing, listening, signals.attach(), lambda: _announce(output, url))

    with StopSignals() as signals:
        cluster.ask(question)


def _announce(output: Output, url: str) -> None:
    """Print the URL at once: the command goes on, and its output may be a pipe."""
    output.show({"url": url}, f"the dashboard is {url}")


@dashboard_command.command("passwd")
@click.argument("name")
@click.password_option("--password", prompt="Password", help="The password (default: asks for it).")
def passwd_command(name: str, password: str) -> None:
    """Print the line for the user NAME in the table [dashboard] of grange.toml."""
    if len(password) < SHORTEST:
        raise click.UsageError(f"a password has at least {SHORTEST} characters")
    write(f'users = {{ {name} = "{hash_password(password)}" }}')
