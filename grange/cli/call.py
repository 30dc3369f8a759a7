"""`grange call`: one call to one grain, with arguments and result in JSON, and an honest outcome."""

from __future__ import annotations

import re
import sys

import click
import msgspec

from grange.cli.completion import complete_method
from grange.cli.exit_codes import ExitCode, OutputLost
from grange.cli.grain_arguments import one_grain
from grange.cli.json_call import NOT_EXECUTED, UNKNOWN, arguments_from, error_facts, method_from
from grange.cli.json_items import is_batch, print_items
from grange.cli.output import Output
from grange.cli.remote import RemoteCluster, Seconds, asks_a_cluster
from grange.cli.streams import complain, json_text, write
from grange.client.client import Client
from grange.errors import CallError, ConfigurationError, HandshakeRefused
from grange.printable import printable
from grange.proto.ids import GrainId

_NEGATIVE = re.compile(r"-\.?\d")


class CallCommand(click.Command):
    """A command with a JSON argument, which may be a negative number."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """click.Command: parse the words. A blank before a negative number means nothing in JSON; it is no option."""
        return super().parse_args(ctx, [f" {word}" if _NEGATIVE.match(word) else word for word in args])


@click.command("call", cls=CallCommand)
@one_grain
@click.argument("method", shell_complete=complete_method)
@click.argument("arguments", metavar="[JSON]", required=False)
@click.option("--timeout", type=Seconds(0.001), default=30.0, show_default=True, help="Seconds for the call.")
@asks_a_cluster
def call_command(
    cluster: RemoteCluster, output: Output, grain: GrainId, method: str, arguments: str | None, timeout: float
) -> None:
    """Call a grain and print its result as JSON. Items of a streamed method are printed as they come, one a line.

    The arguments are a JSON array (positional), a JSON object (by name), or one other JSON value; - reads them from
    standard input. When the call fails, standard error says whether it was executed.
    """
    name = method_from(method)
    args = arguments_from(_standard_input() if arguments == "-" else arguments)
    begun = False

    async def question(client: Client) -> bytes | Exception | None:
        nonlocal begun
        begun = True
        return await _outcome(client, grain, name, args, timeout)

    try:
        outcome: bytes | Exception | None = cluster.ask(question, timeout)
    except (CallError, HandshakeRefused) as error:  # no gateway answered, so the call was not sent
        outcome = error
    except KeyboardInterrupt:
        facts = {"type": "Interrupted", "message": "by Ctrl-C", "outcome": UNKNOWN if begun else NOT_EXECUTED}
        _report(facts, output.as_json)
        raise click.exceptions.Exit(ExitCode.INTERRUPTED) from None
    if isinstance(outcome, Exception):
        _report(error_facts(outcome, grain), output.as_json)
        raise click.exceptions.Exit(ExitCode.FAILED)
    if outcome is None:
        return  # its items are printed
    try:
        write(json_text(outcome))
    except OutputLost as error:
        raise OutputLost(f"{error.reason}; the call was executed", error.is_quiet) from error


async def _outcome(
    client: Client, grain_id: GrainId, method: str, args: bytes, timeout: float
) -> bytes | Exception | None:
    """The result of the call or its error; None: it streamed its items, and they are printed."""
    try:
        answer = await client.call_json(grain_id, method, args, timeout)
        if not is_batch(answer):
            return answer
        await print_items(client, grain_id, method, answer)
        return None
    except OutputLost:
        raise
    except Exception as error:  # an error of the grain is an outcome of the call
        return error


def _report(facts: dict[str, str], as_json: bool) -> None:
    if as_json:
        complain(json_text(msgspec.json.encode({"error": facts})))
    else:
        message = printable(" ".join(facts["message"].split()))
        complain(f"{click.style('error:', fg='red')} {printable(facts['type'])} ({facts['outcome']}): {message}")


def _standard_input() -> str:
    if sys.stdin is None:
        raise ConfigurationError("standard input is closed; give the arguments on the command line")
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"standard input is not UTF-8 at byte {error.start}") from None
