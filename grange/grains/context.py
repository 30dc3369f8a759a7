"""The request context: values that travel with a call beside its arguments. Holds all context variables of grange."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from contextvars import ContextVar

Scalar = str | int | float | bool | bytes | None
"""The values that a request context may hold: small, and with the same meaning in every process."""


def is_scalar(value: object) -> bool:
    """Whether a value may be in a request context. Annotations are not checked at run time."""
    return isinstance(value, Scalar)


_EMPTY: Mapping[str, Scalar] = {}

context_values: ContextVar[Mapping[str, Scalar]] = ContextVar("grange_request_context", default=_EMPTY)
"""The request context of the running code. `runtime/calls/caller.py` reads it; `runtime/activations/invoker.py` sets
it. The mapping is never changed in place."""

current_activation: ContextVar[object] = ContextVar("grange_activation", default=None)
"""The activation (`runtime/activations/activation.py`) whose turn runs; None outside grains."""


class RequestContext(MutableMapping[str, Scalar]):
    """A mapping whose values travel down the call chain and never back up.

    A value that is set here travels with each later call of the same task, and with the calls that the called grains
    make. A callee's changes do not reach its caller. Values are small scalars. Keys that start with "grange." are
    reserved for the runtime.
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
