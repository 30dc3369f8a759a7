"""What linearisability is judged against: one register and one counter, as plain step functions. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

Value = Any
"""A register's or counter's value, or an argument or result: whatever is hashable once `frozen`."""

Step = Callable[[Value, str, Value, Value, bool], tuple[bool, Value]]
"""`step(state, op, argument, result, known)` -> (could have answered so, state after it). If not `known`, any result is
possible."""


def register(state: Value, op: str, argument: Value, result: Value, known: bool) -> tuple[bool, Value]:
    """`write` (the new value), `cas` ([expected, new], answers whether it was swapped) and `read`."""
    if op == "read":
        return not known or result == state, state
    if op == "write":
        return True, argument
    if op == "cas":
        expected, new = argument
        swapped = state == expected
        return not known or result == swapped, new if swapped else state
    raise ValueError(f"a register knows read, write and cas, not {op!r}")


def counter(state: Value, op: str, argument: Value, result: Value, known: bool) -> tuple[bool, Value]:
    """`increment` (by its argument, None: 1; answers the new value, or None if it does not say) and `read`."""
    if op == "read":
        return not known or result == state, state
    if op == "increment":
        after = state + (1 if argument is None else argument)
        return not known or result is None or result == after, after
    raise ValueError(f"a counter knows read and increment, not {op!r}")


def frozen(value: Value) -> Value:
    """The same value, hashable: lists, as JSON brings them, become tuples."""
    if isinstance(value, (list, tuple)):
        return tuple(frozen(each) for each in cast("Sequence[Value]", value))
    return value
