"""`python -m examples.flights`: feed real flights through real silos, kill one, and prove every total."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

import click
import uvloop
from rich.console import Console

from examples.flights.demo import Options, Outcome, run
from examples.flights.processes import SiloFailed
from examples.flights.report import Bar, figures, print_outcome
from examples.flights.source import JANUARY, NotFlights
from grange import GrangeError

FLIGHTS = click.Path(exists=True, dir_okay=False, path_type=Path)
INTERRUPTED = 130
"""Exit code after Ctrl-C, as in shells."""


@click.command()
@click.option("--file", type=FLIGHTS, default=JANUARY, help="Flights as csv, csv.gz or zip; default: January 2013.")
@click.option("--redis", default="", metavar="URL", help="Membership (and state, without --postgres) in this Redis.")
@click.option("--postgres", default="", metavar="URL", help="State (and membership, without --redis) in this Postgres.")
@click.option("--silos", type=click.IntRange(min=2), default=2, show_default=True, help="Silo processes at the start.")
@click.option("--in-flight", type=click.IntRange(min=1), default=256, show_default=True, help="Calls at a time.")
@click.option("--limit", type=click.FloatRange(min=1), help="Time limit of the run in seconds.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON, nothing else.")
def main(as_json: bool, **options: Any) -> None:
    """Feed flights through silo processes, kill one half-way, and compare every total with the file."""
    console, errors = Console(quiet=as_json), Console(stderr=True)
    try:
        with Bar(console) as bar:
            outcome = uvloop.run(_until_done(Options(**options), bar))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except ExceptionGroup as group:
        _fail(errors, _first(group))
    except (GrangeError, NotFlights, SiloFailed, TimeoutError, OSError) as error:
        _fail(errors, error)
    else:
        if as_json:
            click.echo(json.dumps(figures(outcome), indent=2))
        else:
            print_outcome(outcome, console)
        sys.exit(1 if outcome.comparison.differences else 0)


async def _until_done(options: Options, bar: Bar) -> Outcome:
    """SIGTERM ends a run as Ctrl-C does: silos and folder are cleaned up first.

    SIGINT has a handler too, because a shell starts background processes with SIGINT ignored.
    """
    task = asyncio.ensure_future(run(options, bar))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def _first(error: BaseException) -> BaseException:
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


def _fail(console: Console, error: BaseException) -> NoReturn:
    notes = "\n".join(getattr(error, "__notes__", ()))
    console.print(f"FAILED: {type(error).__name__}: {error}\n{notes}".rstrip(), style="red", markup=False)
    sys.exit(1)


if __name__ == "__main__":
    main()
