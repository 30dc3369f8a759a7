"""The command `grange`: the group of its subcommands, and the report of an error.

docs/operations/command-line.md describes them.

Tables are for people, `--json` is for programs. The exit codes are those of `exit_codes.py`. An error is one line on
standard error; with `--debug` it is the traceback. The module of a subcommand is imported when that subcommand runs.
"""

from __future__ import annotations

import errno
import sys
import traceback
from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any

import click
from click.shell_completion import CompletionItem

from grange.cli.exit_codes import ExitCode, OutputLost, exit_code
from grange.cli.streams import complain
from grange.printable import printable, printable_lines

SUBCOMMANDS: Mapping[str, tuple[str, str]] = MappingProxyType({
    "activation": (
        "activation_command",
        "The activation of one grain: where it is, its requests and the stack of its turn, its timers and states.",
    ),
    "allowed": (
        "allowed_command",
        "Whether WHO may call a method, by the rules of the silos that host its type, and which rule decides.",
    ),
    "audit": ("audit_command", "What operators did, whom silos refused, and calls of @audited methods."),
    "call": ("call", "Call a grain and print its result as JSON."),
    "certs": (
        "certs_command",
        "Make certificates for a laptop, show those in a file, check those of a silo or client, or compare the silos.",
    ),
    "cordon": ("cordon_command", "Place no new grains on one SILO; its own stay, and their calls go on."),
    "completion": ("completion", "Print the script that completes commands, grains and silos in a shell."),
    "collect": ("collect_command", "End the activations that are idle, on all silos or one, to free their memory."),
    "clients": ("clients_command", "The clients of the silos, with the calls of grains to their observers."),
    "config": (
        "config_command",
        "Check, show or describe the options of a silo: of the code, the environment and grange.toml.",
    ),
    "dashboard": (
        "dashboard_command",
        "Serve the dashboard of a cluster from this machine, until Ctrl-C, and print the URL that opens it.",
    ),
    "deactivate": (
        "deactivate_command",
        "End the activation of one grain, or all activations of a TYPE, after their running requests.",
    ),
    "declare-dead": (
        "declare_dead_command",
        "Declare one SILO dead, if it is gone and the cluster has not found that out yet.",
    ),
    "dev": ("dev_command", "Run a cluster of several silos on this machine, on free ports, until Ctrl-C."),
    "doctor": (
        "doctor",
        "Check the stores of a silo (roles, versions, persistence, eviction) and try what a silo does; nothing stays.",
    ),
    "drain": (
        "drain_command",
        "Stop one SILO in order: its grains move to other silos, no call fails, its process exits with code 0.",
    ),
    "events": ("follow_command", "What happened in the silos of the cluster: votes, deaths, fences, acts and more."),
    "grains": ("ask", "The grain types of the cluster with their activations, or the activations of one TYPE."),
    "log-level": ("log_level_command", "Set the level of one LOGGER in the silos of the cluster for a while."),
    "logs": ("follow_command", "The newest log lines of the silos of the cluster, in the order of their times."),
    "migrate": (
        "migrate",
        "Make the tables of a silo's stores, or bring them up to date, as the user that their URLs name.",
    ),
    "move": ("move_command", "Move the activation of one grain to another silo, after its running requests."),
    "new": ("new_command", "Write a starter into the new folder NAME: a grain, a silo, options, and tests that pass."),
    "rebalancing": (
        "rebalancing_command",
        "How the activations are balanced over the silos, what moved and what holds it up; or suspend and resume it.",
    ),
    "reminders": (
        "reminders_command",
        "The reminders and jobs that are due soon, parked or of one grain; cancel one, or retry one that failed.",
    ),
    "rules": (
        "allowed_command",
        "Who may call what on each silo: the rules, what methods require, and notes about both.",
    ),
    "run": ("run_command", "Run one silo until SIGTERM or SIGINT, which drain it; a second signal ends it at once."),
    "silos": ("ask", "The members of the cluster, as the membership table has them."),
    "state": (
        "state_command",
        "The stored states of one grain as JSON, or the one with this NAME. Secrets in them are hidden.",
    ),
    "status": ("ask", "The state of every silo."),
    "stored": (
        "stored_command",
        "The stored grains of one TYPE, by key, or those with these values in indexed fields.",
    ),
    "tasks": ("tasks_command", "The tasks of the event loop of one SILO, with the stacks of those that wait."),
    "uncordon": ("cordon_command", "Place new grains on one SILO again."),
    "version-rules": (
        "versions_command",
        "Set which versions serve the callers of an INTERFACE, or the default, on every silo until it ends.",
    ),
    "versions": ("versions_command", "The versions of interfaces that the active silos host, by grain type."),
})  # fmt: skip
"""Each subcommand with its module in this room and the first sentence of its help, so that help imports no module."""

_OUTPUT_LOST = frozenset({errno.ENOSPC, errno.EPIPE, errno.EBADF, errno.EIO, errno.EFBIG, errno.EDQUOT})


class Commands(click.Group):
    """The group of all subcommands; it turns an error into one line and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """click.Group: the names."""
        return sorted(SUBCOMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """click.Group: import one subcommand."""
        if cmd_name not in SUBCOMMANDS:
            return None
        command = getattr(
            import_module(f"grange.cli.{SUBCOMMANDS[cmd_name][0]}"), f"{cmd_name.replace('-', '_')}_command"
        )
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """click.Group: the list in the help."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, sentence) for name, (_, sentence) in sorted(SUBCOMMANDS.items())])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """click.Group: complete the name of a subcommand."""
        names = [name for name in sorted(SUBCOMMANDS) if name.startswith(incomplete)]
        options = click.Command.shell_complete(self, ctx, incomplete)
        return [*(CompletionItem(name, help=SUBCOMMANDS[name][1]) for name in names), *options]

    def main(self, *args: Any, **extra: Any) -> Any:
        """click.Command: run the command line, and exit."""
        try:
            return super().main(*args, **extra)
        except OSError as error:  # the help could not be written
            self._report(OutputLost(error.strerror or str(error)), debug=False)
            sys.exit(ExitCode.FAILED)

    def invoke(self, ctx: click.Context) -> Any:
        """click.Group: run the subcommand."""
        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            raise _printable_usage(error) from None
        except (click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt:
            complain(f"{click.style('error:', fg='red')} interrupted")
            raise click.exceptions.Exit(ExitCode.INTERRUPTED) from None
        except Exception as error:
            raise click.exceptions.Exit(self._report(_cause(error), ctx.params["debug"])) from None

    def _report(self, error: Exception, debug: bool) -> ExitCode:
        code = exit_code(error)
        if isinstance(error, OutputLost) and error.is_quiet:
            return code
        if debug:
            complain("\n".join(printable_lines("".join(traceback.format_exception(error)))))
            return code
        text = printable(" ".join(str(error).split())) or type(error).__name__
        if code is ExitCode.BUG:
            text = f"{type(error).__name__}: {text}; this is unexpected: `grange --debug ...` shows where it comes from"
        complain(f"{click.style('error:', fg='red')} {text}")
        return code


def _cause(error: Exception) -> Exception:
    """The error itself, or OutputLost for one of click's own output."""
    if isinstance(error, OSError) and error.errno in _OUTPUT_LOST:
        return OutputLost(error.strerror or str(error), error.errno == errno.EPIPE)
    return error


def _printable_usage(error: click.ClickException) -> click.ClickException:
    """The same error; what the command line holds may have come from elsewhere, too."""
    text = error.format_message()
    if isinstance(error, click.MissingParameter):  # click lists the choices with line breaks and tabs
        text = " ".join(text.split())
    text = printable(text)
    return click.UsageError(text, error.ctx) if isinstance(error, click.UsageError) else click.ClickException(text)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(package_name="grange")
def main(debug: bool) -> None:
    """Virtual actors for Python: run silos, inspect a cluster, call grains."""
