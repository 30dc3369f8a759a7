"""The models of the linearisability checker: a register and a counter, as step functions. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

Value = Any
"""The value of a register or counter, an argument or a result: any value that is hashable once `frozen`."""

Step = Callable[[Value, str, Value, Value, bool], tuple[bool, Value]]
"""`step(state, op, argument, result, known)` -> (whether the result is possible, the state after the call). If not
`known`, any result is possible."""


def register(state: Value, op: str, argument: Value, result: Value, known: bool) -> tuple[bool, Value]:
    """A register with `write` (the new value), `cas` ([expected, new]; returns whether it swapped) and `read`."""
    if op == "read":
        return not known or result == state, state
    if op == "write":
        return True, argument
    if op == "cas":
        expected, new = argument
        swapped = state == expected
        return not known or result == swapped, new if swapped else state
    raise ValueError(f"a register supports read, write and cas, not {op!r}")


def counter(state: Value, op: str, argument: Value, result: Value, known: bool) -> tuple[bool, Value]:
    """A counter with `increment` (by its argument, None: 1; returns the new value, or None) and `read`."""
    if op == "read":
        return not known or result == state, state
    if op == "increment":
        after = state + (1 if argument is None else argument)
        return not known or result is None or result == after, after
    raise ValueError(f"a counter supports read and increment, not {op!r}")


def frozen(value: Value) -> Value:
    """The same value in hashable form: lists, as JSON yields them, become tuples."""
    if isinstance(value, (list, tuple)):
        return tuple(frozen(item) for item in cast("Sequence[Value]", value))
    return value
