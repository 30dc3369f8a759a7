"""I1: no acknowledged write is lost, and no write happens without a request. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from grange.testing.checks.history import Event, Violation, operations


def acknowledged(history: Iterable[Event], final: Mapping[str, int], op: str = "increment") -> list[Violation]:
    """Compare each counter's `final` value, read after a quiet period, with the increments of the history.

    For each key: acknowledged <= final <= acknowledged + unknown. The amount of an increment (above 0) is the value of
    its `invoke`, 1 when that is None. A key missing from `final` counts as 0.
    """
    sure: defaultdict[str, int] = defaultdict(int)
    possible: defaultdict[str, int] = defaultdict(int)
    for call in operations(history):
        if call.invoke.op != op or call.kind == "fail":
            continue
        amount = 1 if call.invoke.value is None else call.invoke.value
        (sure if call.kind == "ok" else possible)[call.invoke.key] += amount
    found: list[Violation] = []
    for key in sorted({*sure, *possible, *final}):
        value = final.get(key, 0)
        if value < sure[key]:
            found.append(Violation("I1", key, f"{sure[key]} were acknowledged and {value} are there: lost"))
        elif value > sure[key] + possible[key]:
            most = f"{sure[key]} acknowledged and {possible[key]} unknown"
            found.append(
                Violation("I1", key, f"{value} are there with {most}: some were made twice, or without a request")
            )
    return found
