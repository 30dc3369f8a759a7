"""The steps of the running code that are spans if its trace is sampled: `with part("storage", "state write"):`."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from grange.observability.spans import Fact, InTrace, Sampled, current


def part(kind: str, name: str, facts: dict[str, Fact] | None = None) -> AbstractContextManager[object]:
    """A `with` for one step of the running code, such as a storage operation. It does nothing if nothing is sampled."""
    return part_of(current.get(), kind, name, facts)


def part_of(
    trace: InTrace, kind: str, name: str, facts: dict[str, Fact] | None = None
) -> AbstractContextManager[object]:
    """`part` for a step of the code that has this trace."""
    if not isinstance(trace, Sampled):
        return _NOTHING
    return trace.child(kind, name, {} if facts is None else facts)


_NOTHING = nullcontext()


def link_here() -> str:
    """The traceparent of the running code, if its trace is sampled: for what it causes and does not wait for."""
    trace = current.get()
    return trace.traceparent if isinstance(trace, Sampled) else ""
