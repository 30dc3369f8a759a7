"""The corpus of attacks: one list for every port, with and without TLS. `test_the_corpus.py` runs it.

An attack gets a port and a source of chance. It returns when it has done its harm and left nothing open; it may check
how it was refused. `on` names the protocols of the ports that it knows.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.hostile.places import Place, Protocol

Run = Callable[[Place, Random], Coroutine[Any, Any, None]]


@dataclass(frozen=True)
class Attack:
    """One way to do harm."""

    name: str
    on: frozenset[Protocol]
    run: Run
    needs_tls: bool = False


class Corpus:
    """The attacks of one file, in order."""

    def __init__(self) -> None:
        self.attacks: list[Attack] = []

    def on(self, *protocols: Protocol, needs_tls: bool = False) -> Callable[[Run], Run]:
        """Add a function as an attack on ports of these protocols; `needs_tls`: on those with TLS only."""

        def add(run: Run) -> Run:
            name = getattr(run, "__name__", "attack").replace("_", "-")
            self.attacks.append(Attack(name, frozenset(protocols), run, needs_tls))
            return run

        return add
