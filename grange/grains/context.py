"""The request context, which follows a call without being an argument. Holds the only context variables of grange."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from contextvars import ContextVar

Scalar = str | int | float | bool | bytes | None
"""The values that a request context may hold: small, and with the same meaning in every process."""


def is_scalar(value: object) -> bool:
    """Whether a value may be in a request context. Annotations are not checked at run time."""
    return isinstance(value, Scalar)


_NOTHING: Mapping[str, Scalar] = {}

context_values: ContextVar[Mapping[str, Scalar]] = ContextVar("grange_request_context", default=_NOTHING)
"""The request context of the running code. `runtime/calls/caller.py` reads it; `runtime/activations/invoker.py` sets
it. The mapping is never changed in place."""

current_activation: ContextVar[object] = ContextVar("grange_activation", default=None)
"""The activation (`runtime/activations/activation.py`) whose turn runs; None outside grains."""


class RequestContext(MutableMapping[str, Scalar]):
    """A mapping that follows the call chain down and never back up.

    Each later call from the same task carries a value that is set here, and so do the calls of the called grains.
    Changes by a callee stay with the callee. Values are small scalars. Keys that start with "grange." are reserved for
    the runtime.
    """

    __slots__ = ()

    def __getitem__(self, key: str) -> Scalar:
        return context_values.get()[key]

    def __setitem__(self, key: str, value: Scalar) -> None:
        if key.startswith("grange."):
            raise ValueError(f"request context keys starting with 'grange.' are reserved for the runtime: {key!r}")
        if not is_scalar(value):
            kind = type(value).__name__
            raise TypeError(f"request context values are str, int, float, bool, bytes or None, not {kind}")
        context_values.set({**context_values.get(), key: value})

    def __delitem__(self, key: str) -> None:
        values = dict(context_values.get())
        del values[key]
        context_values.set(values)

    def __iter__(self) -> Iterator[str]:
        return iter(context_values.get())

    def __len__(self) -> int:
        return len(context_values.get())

    def __repr__(self) -> str:
        return f"request_context({dict(context_values.get())!r})"


request_context = RequestContext()
"""The request context of the code that reads it."""
