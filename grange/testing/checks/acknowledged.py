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
    certain: defaultdict[str, int] = defaultdict(int)
    possible: defaultdict[str, int] = defaultdict(int)
    for call in operations(history):
        if call.invoke.op != op or call.kind == "fail":
            continue
        amount = 1 if call.invoke.value is None else call.invoke.value
        (certain if call.kind == "ok" else possible)[call.invoke.key] += amount
    violations: list[Violation] = []
    for key in sorted({*certain, *possible, *final}):
        value = final.get(key, 0)
        if value < certain[key]:
            text = f"{certain[key]} were acknowledged, {value} are stored: writes were lost"
            violations.append(Violation("I1", key, text))
        elif value > certain[key] + possible[key]:
            requested = f"{certain[key]} were acknowledged and {possible[key]} are unknown"
            text = f"{value} are stored, {requested}: writes were made twice, or without a request"
            violations.append(Violation("I1", key, text))
    return violations
