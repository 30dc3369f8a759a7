"""The command `grange`: one function per subcommand. docs/operations.md describes them.

Tables are for people, `--json` is for programs. The exit codes are those of `cli/process.py`. An error is one line on
standard error; with `--debug` it is the traceback.
"""

from __future__ import annotations

import asyncio
import difflib
import functools
import os
import sys
import traceback
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import click
import msgspec

from grange.cli import tables
from grange.cli.dev import DevOptions, LocalCluster
from grange.cli.doctor import doctor
from grange.cli.drain import DrainCommand
from grange.cli.inspect import activations_by_type, grain_lists, silo_states
from grange.cli.json_call import arguments_from, error_facts, grain_id_from
from grange.cli.logs import LEVELS, write_logs
from grange.cli.output import Output
from grange.cli.process import ExitCode, StopSignals, exit_code, run
from grange.cli.remote import RemoteCluster, asks_a_cluster
from grange.cli.silo_import import named_silo
from grange.client.client import Client
from grange.errors import CallError, ConfigurationError, HandshakeRefused, NoSuchGrain
from grange.membership.model.member import SiloStatus
from grange.silo.config import PREFIX, SiloConfig
from grange.silo.management import MAX_LISTED, ListGrains
from grange.silo.silo import Silo

ASK_TIMEOUT = 2.0
"""Seconds for the answer of one silo. `grange status` is a health check: it must not wait for a silo that hangs."""

SIMILAR = 0.87
"""Least similarity to an option (0 to 1, by `difflib`) at which a variable counts as misspelt. `GRANGE_SERVICE_HOST`,
which Kubernetes sets, is less similar to any option.
"""


class Commands(click.Group):
    """The group of all subcommands; it turns an error into one line and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """click.Group: run the command."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            code = exit_code(error)
            self._report(error, code, ctx.params["debug"])
            raise click.exceptions.Exit(code) from None

    def _report(self, error: Exception, code: ExitCode, debug: bool) -> None:
        if debug:
            click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
            return
        text = " ".join(str(error).split()) or type(error).__name__
        if code is ExitCode.BUG:
            text = f"{type(error).__name__}: {text}; this is unexpected: `grange --debug ...` shows where it comes from"
        click.echo(f"{click.style('error:', fg='red')} {text}", err=True)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(package_name="grange")
def main(debug: bool) -> None:
    """Virtual actors for Python: run silos, inspect a cluster, call grains."""


@main.command("run")
@click.argument("app", metavar="MODULE:SILO")
@click.option("--host", help="Address to listen on (default: 127.0.0.1).")
@click.option("--advertise", help="Host by which others reach this silo, if not --host.")
@click.option("--port", type=int, help="Port for other silos (default: 11111; 0: a free one).")
@click.option("--gateway-port", type=int, help="Port for clients (default: 30000; 0: a free one).")
@click.option("--cluster", help="Name of the cluster.")
@click.option("--service", help="Name of the application in storage.")
@click.option("--membership", metavar="URL", help="Membership table (default: SQLite in the data folder).")
@click.option("--storage", metavar="URL", help="Default storage (default: SQLite in the data folder).")
@click.option("--data", type=click.Path(path_type=Path), help="Folder of the embedded databases (default: .grange).")
@click.option("--name", help="Name of this silo for people (default: host and port).")
@click.option("--insecure", is_flag=True, default=None, help="Allow a public address without TLS and authentication.")
@click.option("--log-level", type=click.Choice(LEVELS), default="info", show_default=True)
@click.option("--log-json/--log-text", help="Format of the log on standard error.", default=False)
@click.option("--json", "as_json", is_flag=True, help="Show as JSON where the silo listens.")
@click.option("--stop-with-stdin", is_flag=True, hidden=True, help="Also stop when standard input ends.")
def run_command(app: str, log_level: str, log_json: bool, as_json: bool, stop_with_stdin: bool, **options: Any) -> None:
    """Run one silo until SIGTERM or SIGINT, which drain it; a second signal ends it at once.

    Options win over the environment (GRANGE_...), which wins over grange.toml.
    """
    overrides = {name: value for name, value in options.items() if value is not None}
    with StopSignals() as signals:
        if stop_with_stdin:
            signals.stop_with_stdin()
        silo = named_silo(app)
        check_names(os.environ, SiloConfig.model_fields)
        config = silo.definition(**overrides).config
        write_logs(log_level, log_json, {"cluster": config.cluster, "silo": config.name})
        run(silo, overrides, signals, functools.partial(_announce, config, as_json))


def check_names(environment: Iterable[str], options: Collection[str]) -> None:
    """Raise ConfigurationError for a `GRANGE_` variable whose name is almost that of an option.

    If a misspelt variable were ignored, the silo could start with other stores than intended. A name that resembles no
    option is ignored: Kubernetes sets some for a service that is named grange.
    """
    known = {PREFIX + option.upper() for option in options}
    for name in sorted(environment):
        stem = name.partition("__")[0].removesuffix("_FILE")
        if not name.startswith(PREFIX) or stem in known:
            continue
        close = difflib.get_close_matches(stem, known, n=1, cutoff=SIMILAR)
        if close:
            raise ConfigurationError(f"the environment variable {name} is no option; did you mean {close[0]}?")


def _announce(config: SiloConfig, as_json: bool, silo: Silo) -> None:
    facts = {
        "event": "active",
        "address": str(silo.address),
        "gateway": silo.gateway,
        "cluster": config.cluster,
        "name": config.name,
        "pid": os.getpid(),
    }
    if as_json:
        click.echo(msgspec.json.encode(facts))
    else:
        click.echo(
            f"silo {silo.address} of cluster {config.cluster!r} is active: "
            f"silos reach it at {silo.address.endpoint}, clients at {silo.gateway}"
        )


@main.command()
@click.argument("app", metavar="[MODULE:SILO]", default="grange.cli.demo_silo:silo")
@click.option("--silos", type=click.IntRange(1, 32), default=2, show_default=True, help="Number of silos.")
@click.option(
    "--data", type=click.Path(path_type=Path), default=Path(".grange"), show_default=True, help="Folder for state."
)
@click.option("--log-level", type=click.Choice(LEVELS), default="warning", show_default=True)
def dev(app: str, silos: int, data: Path, log_level: str) -> None:
    """Run a cluster of several silos on this machine, on free ports, until Ctrl-C.

    Without MODULE:SILO it runs a counter grain for trying calls.
    """
    named_silo(app)  # report an error of the module once, here, and not from every process
    names = [f"silo-{number}" for number in range(1, silos + 1)]
    colours = dict(zip(names, ("cyan", "magenta", "yellow", "green", "blue", "red") * 6, strict=False))

    def write(name: str, line: str) -> None:
        prefix = click.style(f"{name} | ", fg=colours[name]) if name else ""
        click.echo(prefix + line)

    cluster = LocalCluster(DevOptions(app, names, data, log_level), write)
    with StopSignals(cluster.kill) as signals:
        code = asyncio.run(cluster.run(signals))
    if code:
        raise click.exceptions.Exit(code)


@main.command()
@asks_a_cluster
def status(cluster: RemoteCluster, output: Output) -> None:
    """The state of every silo. Fails when no gateway answers, so it serves as health check of a container."""

    async def question(client: Client) -> Any:
        return client.view, await silo_states(client.ask, client.view, ASK_TIMEOUT)

    view, answers = cluster.ask(question)
    facts = {
        "cluster": cluster.name,
        "version": view.version,
        "silos": [tables.state_facts(answer) for answer in answers],
    }
    head = f"cluster {cluster.name!r}, version {view.version}, {len(view.active)} active"
    output.show(facts, head, tables.status_table(answers))


@main.command()
@click.option("--all", "dead_too", is_flag=True, help="Show dead silos, too.")
@asks_a_cluster
def silos(cluster: RemoteCluster, output: Output, dead_too: bool) -> None:
    """The members of the cluster, as the membership table has them."""

    async def question(client: Client) -> Any:
        return client.view

    members = [each for each in cluster.ask(question).members if dead_too or each.status is not SiloStatus.DEAD]
    output.show([tables.member_facts(member) for member in members], tables.silos_table(members))


@main.command()
@click.argument("grain_type", metavar="[TYPE]", default="")
@click.option("--limit", type=click.IntRange(1, MAX_LISTED), default=100, show_default=True, help="Per silo.")
@asks_a_cluster
def grains(cluster: RemoteCluster, output: Output, grain_type: str, limit: int) -> None:
    """The grain types of the cluster with their activations, or the activations of one TYPE."""
    if grain_type:
        _list_activations(cluster, output, ListGrains(grain_type, limit))
        return

    async def question(client: Client) -> Any:
        return client.view, await silo_states(client.ask, client.view, ASK_TIMEOUT)

    view, answers = cluster.ask(question)
    counts = activations_by_type(answers)
    output.show(counts, tables.types_table(counts, view), *tables.problems(answers))


def _list_activations(cluster: RemoteCluster, output: Output, query: ListGrains) -> None:
    async def question(client: Client) -> Any:
        known = {name for member in client.view.active for name in member.grains}
        if query.type not in known:
            raise NoSuchGrain(f"no silo hosts {query.type!r}; the types are: {', '.join(sorted(known)) or 'none'}")
        return await grain_lists(client.ask, client.view, query, ASK_TIMEOUT)

    answers = cluster.ask(question)
    rows = tables.activation_facts(answers)
    total = sum(answer.answer.total for answer in answers if answer.answer is not None)
    cut = [f"{len(rows)} of {total} are shown"] if len(rows) < total else []
    facts = {"activations": rows, "total": total}
    output.show(facts, tables.activations_table(rows), *cut, *tables.problems(answers))


@main.command()
@click.argument("silo")
@click.option("--timeout", type=click.FloatRange(0.1), default=150.0, show_default=True, help="Seconds to watch.")
@click.option(
    "--wait/--no-wait",
    default=True,
    help="Watch the silo until it is gone, or only start the drain.",
    show_default=True,
)
@asks_a_cluster
def drain(cluster: RemoteCluster, output: Output, silo: str, timeout: float, wait: bool) -> None:
    """Stop one SILO in order: its grains move to other silos, no call fails, its process exits with code 0.

    SILO is a name, host:port or address, as `grange silos` shows them.
    """

    async def question(client: Client) -> DrainCommand:
        command = DrainCommand(client.ask, client.view, silo, not output.as_json)
        await command.run(timeout if wait else None)
        return command

    command = cluster.ask(question)
    output.show(command.facts(), command.text())
    if not command.done:
        raise click.exceptions.Exit(ExitCode.FAILED)


@main.command()
@click.argument("grain", metavar="TYPE/KEY")
@click.argument("method")
@click.argument("arguments", metavar="[JSON]", required=False)
@click.option("--timeout", type=click.FloatRange(0.001), default=30.0, show_default=True, help="Seconds for the call.")
@asks_a_cluster
def call(
    cluster: RemoteCluster, output: Output, grain: str, method: str, arguments: str | None, timeout: float
) -> None:
    """Call a grain and print its result as JSON.

    The arguments are a JSON array (positional), a JSON object (by name), or one other JSON value; - reads them from
    standard input. When the call fails, standard error says whether it was executed.
    """
    grain_id = grain_id_from(grain)
    args = arguments_from(sys.stdin.read() if arguments == "-" else arguments)

    async def question(client: Client) -> bytes | Exception:
        try:
            return await client.call_json(grain_id, method, args, timeout)
        except Exception as error:  # an error of the grain is an outcome of the call
            return error

    try:
        outcome = cluster.ask(question, timeout)
    except (CallError, HandshakeRefused) as error:  # no gateway answered, so the call was not sent
        outcome = error
    if isinstance(outcome, Exception):
        _report_failed_call(outcome, output.as_json)
        raise click.exceptions.Exit(ExitCode.FAILED)
    click.echo(outcome)


def _report_failed_call(error: Exception, as_json: bool) -> None:
    facts = error_facts(error)
    if as_json:
        click.echo(msgspec.json.encode({"error": facts}), err=True)
    else:
        prefix = click.style("error:", fg="red")
        click.echo(f"{prefix} {facts['type']} ({facts['outcome']}): {' '.join(facts['message'].split())}", err=True)


main.add_command(doctor)
