"""The command `grange`: run silos, look at a cluster, call a grain. docs/operations.md describes every command.

Tables are for people, `--json` for programs; exit codes are those of `cli/process.py`. An error is one line on
standard error, unless `--debug` asks for the traceback.
"""

from __future__ import annotations

import asyncio
import functools
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import msgspec

from grange.cli import tables
from grange.cli.dev import DevOptions, LocalCluster
from grange.cli.doctor import doctor
from grange.cli.drain_command import Draining
from grange.cli.environment import check_names
from grange.cli.inspect import activations_by_type, grain_lists, silo_states
from grange.cli.json_call import arguments_from, error_facts, grain_id_from
from grange.cli.logs import LEVELS, write_logs
from grange.cli.process import ExitCode, StopSignals, exit_code, run
from grange.cli.silo_import import named_silo
from grange.cli.target import Target
from grange.client.client import Client
from grange.errors import CallError, HandshakeRefused, NoSuchGrain
from grange.membership.model.member import SiloStatus
from grange.silo.config import SiloConfig
from grange.silo.management import MAX_LISTED, ListGrains
from grange.silo.silo import Silo

ASK_SECONDS = 2.0
"""How long one silo may take to say how it is: a health check must not wait for somebody else's silo."""


class Commands(click.Group):
    """The boundary of the process: an error that reaches it becomes one line and an exit code."""

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
    """Virtual actors for Python: run silos, look at a cluster, call grains."""


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
@click.option("--name", help="What people call this silo (default: host and port).")
@click.option("--insecure", is_flag=True, default=None, help="Allow a public address without TLS and authentication.")
@click.option("--log-level", type=click.Choice(LEVELS), default="info", show_default=True)
@click.option("--log-json/--log-text", help="Format of the log on standard error.", default=False)
@click.option("--json", "as_json", is_flag=True, help="Say as JSON where the silo listens.")
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
@click.option("--silos", type=click.IntRange(1, 32), default=2, show_default=True, help="How many.")
@click.option(
    "--data", type=click.Path(path_type=Path), default=Path(".grange"), show_default=True, help="Folder for state."
)
@click.option("--log-level", type=click.Choice(LEVELS), default="warning", show_default=True)
def dev(app: str, silos: int, data: Path, log_level: str) -> None:
    """Run a cluster of several silos on this machine, on free ports, until Ctrl-C.

    Without MODULE:SILO it runs a counter to play with.
    """
    named_silo(app)  # what is wrong with it is said once, not by every silo
    names = [f"silo-{number}" for number in range(1, silos + 1)]
    colours = dict(zip(names, ("cyan", "magenta", "yellow", "green", "blue", "red") * 6, strict=False))

    def write(name: str, line: str) -> None:
        prefix = click.style(f"{name} | ", fg=colours[name]) if name else ""
        click.echo(prefix + line)

    with StopSignals() as signals:
        code = asyncio.run(LocalCluster(DevOptions(app, names, data, log_level), write).run(signals))
    if code:
        raise click.exceptions.Exit(code)


def asks_a_cluster(command: Callable[..., None]) -> Callable[..., None]:
    """The options of a command that is a client; they become its `target`. Defaults are those of a silo here."""

    @click.option("--gateway", multiple=True, metavar="HOST:PORT", help="Gateway of a silo (default: of the one here).")
    @click.option("--cluster", help="Name of the cluster.")
    @click.option(
        "--connect-timeout", type=click.FloatRange(0.1), default=3.0, show_default=True, help="Seconds to look for it."
    )
    @click.option("--json", "as_json", is_flag=True, help="Show the answer as JSON.")
    @functools.wraps(command)
    def wrapped(
        gateway: tuple[str, ...], cluster: str | None, connect_timeout: float, as_json: bool, **rest: Any
    ) -> None:
        here = SiloConfig(insecure=True, advertise="localhost")  # only to read the same sources as a silo here would
        host = "127.0.0.1" if here.host in ("0.0.0.0", "::") else here.host
        gateways = gateway or (f"{host}:{here.gateway_port}",)
        command(Target(gateways, cluster or here.cluster, connect_timeout, as_json), **rest)

    return wrapped


@main.command()
@asks_a_cluster
def status(target: Target) -> None:
    """How every silo is. Fails when no gateway answers, so it serves as health check of a container."""

    async def question(client: Client) -> Any:
        return client.view, await silo_states(client.ask, client.view, ASK_SECONDS)

    view, answers = target.ask(question)
    facts = {
        "cluster": target.cluster,
        "version": view.version,
        "silos": [tables.state_facts(answer) for answer in answers],
    }
    head = f"cluster {target.cluster!r}, version {view.version}, {len(view.active)} active"
    target.show(facts, head, tables.status_table(answers))


@main.command()
@click.option("--all", "dead_too", is_flag=True, help="Also those that are dead.")
@asks_a_cluster
def silos(target: Target, dead_too: bool) -> None:
    """The members of the cluster, as the membership table has them."""

    async def question(client: Client) -> Any:
        return client.view

    members = [each for each in target.ask(question).members if dead_too or each.status is not SiloStatus.DEAD]
    target.show([tables.member_facts(member) for member in members], tables.silos_table(members))


@main.command()
@click.argument("grain_type", metavar="[TYPE]", default="")
@click.option("--limit", type=click.IntRange(1, MAX_LISTED), default=100, show_default=True, help="Per silo.")
@asks_a_cluster
def grains(target: Target, grain_type: str, limit: int) -> None:
    """The grain types of the cluster with their activations, or the activations of one TYPE."""
    if grain_type:
        _list_activations(target, ListGrains(grain_type, limit))
        return

    async def question(client: Client) -> Any:
        return client.view, await silo_states(client.ask, client.view, ASK_SECONDS)

    view, answers = target.ask(question)
    counts = activations_by_type(answers)
    target.show(counts, tables.types_table(counts, view), *tables.problems(answers))


def _list_activations(target: Target, wanted: ListGrains) -> None:
    async def question(client: Client) -> Any:
        known = {name for member in client.view.active for name in member.grains}
        if wanted.type not in known:
            raise NoSuchGrain(f"no silo hosts {wanted.type!r}; the types are: {', '.join(sorted(known)) or 'none'}")
        return await grain_lists(client.ask, client.view, wanted, ASK_SECONDS)

    answers = target.ask(question)
    rows = tables.activation_facts(answers)
    total = sum(answer.answer.total for answer in answers if answer.answer is not None)
    cut = [f"{len(rows)} of {total} are shown"] if len(rows) < total else []
    facts = {"activations": rows, "total": total}
    target.show(facts, tables.activations_table(rows), *cut, *tables.problems(answers))


@main.command()
@click.argument("silo")
@click.option("--timeout", type=click.FloatRange(0.1), default=150.0, show_default=True, help="Seconds to watch it.")
@click.option("--wait/--no-wait", default=True, help="Watch until it is gone, or only start it.", show_default=True)
@asks_a_cluster
def drain(target: Target, silo: str, timeout: float, wait: bool) -> None:
    """Stop one SILO in order: its grains answer elsewhere, no call fails, its process ends with code 0.

    SILO is a name, host:port or address, as `grange silos` shows them.
    """

    async def question(client: Client) -> Draining:
        draining = Draining(client.ask, client.view, silo, not target.as_json)
        await draining.run(timeout if wait else None)
        return draining

    draining = target.ask(question)
    target.show(draining.facts(), draining.text())
    if not draining.done:
        raise click.exceptions.Exit(ExitCode.FAILED)


@main.command()
@click.argument("grain", metavar="TYPE/KEY")
@click.argument("method")
@click.argument("arguments", metavar="[JSON]", required=False)
@click.option("--timeout", type=click.FloatRange(0.001), default=30.0, show_default=True, help="Seconds for the call.")
@asks_a_cluster
def call(target: Target, grain: str, method: str, arguments: str | None, timeout: float) -> None:
    """Call a grain and print its result as JSON.

    The arguments are a JSON array (positional), a JSON object (by name), or one other JSON value; - reads them from
    standard input. When the call fails, standard error says whether it was executed.
    """
    grain_id = grain_id_from(grain)
    args = arguments_from(sys.stdin.read() if arguments == "-" else arguments)

    async def question(client: Client) -> bytes | Exception:
        try:
            return await client.call_json(grain_id, method, args, timeout)
        except Exception as error:  # whatever the grain raises is an outcome of the call
            return error

    try:
        outcome = target.ask(question, timeout)
    except (CallError, HandshakeRefused) as error:  # no gateway, so the call never left
        outcome = error
    if isinstance(outcome, Exception):
        _report_failed_call(outcome, target.as_json)
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
