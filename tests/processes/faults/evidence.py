"""Reads the turn files of the silos: which silo ran which turn, and how long two activations overlapped. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from grange.testing.checks.outcomes import Execution
from grange.testing.checks.writers import Turn


@dataclass(frozen=True)
class ExecutedTurn:
    """One turn, with its silo and its call."""

    turn: Turn
    silo: str
    execution: Execution


def turns(
    lines: Mapping[str, Sequence[bytes]], prefix: str, ended: Mapping[str, float], now: float
) -> list[ExecutedTurn]:
    """All turns of grains whose key begins with `prefix`, from each silo's lines.

    A turn without an end was cut off by the end of its process (`ended`, by silo), or runs `now`.
    """
    found: list[ExecutedTurn] = []
    for silo, written in sorted(lines.items()):
        begun: dict[tuple[str, str], tuple[float, str, str]] = {}
        for line in written:
            what, t, grain, activation, call = json.loads(line)
            if not grain.partition("/")[2].startswith(prefix):
                continue
            if what == "begin":
                begun[grain, call] = (t, activation, call)
            else:
                start, activation, _ = begun.pop((grain, call))
                found.append(_ran(silo, Turn(start, t, grain, activation), call))
        for (grain, call), (start, activation, _) in begun.items():
            found.append(_ran(silo, Turn(start, max(start, ended.get(silo, now)), grain, activation), call))
    return found


def _ran(silo: str, turn: Turn, call: str) -> ExecutedTurn:
    client, _, number = call.rpartition("/")
    return ExecutedTurn(turn, silo, Execution(client, int(number)))
