"""`--watch SECONDS`: shows the answer of a command again and again, in the same place of the terminal."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import click
import msgspec

from grange.cli.output import Output
from grange.cli.remote import RemoteCluster, Seconds
from grange.cli.streams import complain
from grange.errors import CallError, GrangeError, MembershipError
from grange.printable import printable

LEAST = 0.5
"""Seconds between two questions at least: each connects anew."""


def watched(command: Callable[..., None]) -> Callable[..., None]:
    """Decorator inside `asks_a_cluster`: adds `--watch`. After the first answer a failure is shown and tried again."""

    @click.option("--watch", type=Seconds(LEAST), metavar="SECONDS", help="Show it again at this interval.")
    @functools.wraps(command)
    def wrapped(cluster: RemoteCluster, output: Output, *, watch: float | None, **options: Any) -> None:
        if watch is None:
            command(cluster, output, **options)
            return
        quiet, again = msgspec.structs.replace(cluster, is_quiet=True), output.repeated()
        command(quiet, again, **options)
        while True:
            time.sleep(watch)
            try:
                command(quiet, again, **options)
            except (CallError, MembershipError) as error:
                _report(error)

    return wrapped


def _report(error: GrangeError) -> None:
    complain(printable(f"no answer: {error}"))
