"""The request context: values that travel with a call beside its arguments.

Holds all context variables of grange but that of traces (`observability/log_context.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from contextvars import ContextVar
from typing import cast

import msgspec

from grange.proto.ids import GrainId

Scalar = str | int | float | bool | bytes | None
"""The values that a request context may hold: small, and with the same meaning in every process."""


CONTEXT_LIMIT = 16 * 1024
"""Most bytes of all keys and values of a request context together, encoded as on the wire: each call carries them."""

encode_context = msgspec.msgpack.Encoder().encode
"""Encodes a request context for the wire."""

_SCALARS = (bool, int, float, str, bytes)


def _scalar(value: object) -> Scalar:
    """The value as another process would get it: of the builtin class itself. Raises TypeError for other values."""
    if value is None or type(value) in _SCALARS:
        return cast("Scalar", value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, bytes):
        return bytes(value)
    for cls in (int, float):
        if isinstance(value, cls):
            return cls(value)
    raise TypeError(f"request context values are str, int, float, bool, bytes or None, not {type(value).__name__}")


def _check_size(values: Mapping[str, Scalar], key: str) -> None:
    try:
        size = len(msgspec.msgpack.encode(values))
    except (ValueError, OverflowError) as error:
        raise ValueError(f"the request context cannot carry {key!r:.40}: {error}") from None
    if size > CONTEXT_LIMIT:
        raise ValueError(
            f"the request context would have {size:,} bytes with {key!r:.40}; the limit is {CONTEXT_LIMIT:,}: "
            "pass large values as arguments"
        )


_EMPTY: Mapping[str, Scalar] = {}

context_values: ContextVar[Mapping[str, Scalar]] = ContextVar("grange_request_context", default=_EMPTY)
"""The request context of the running code. `runtime/calls/caller.py` reads it; `runtime/activations/invoker.py` sets
it. The mapping is never changed in place."""

current_activation: ContextVar[object] = ContextVar("grange_activation", default=None)
"""The activation (`runtime/activations/activation.py`) whose turn runs; None outside grains."""


def running_grain_type() -> str:
    """The grain type of the turn that runs; empty outside grains."""
    grain_id = getattr(current_activation.get(), "grain_id", None)
    return grain_id.type if isinstance(grain_id, GrainId) else ""


class RequestContext(MutableMapping[str, Scalar]):
    """A mapping whose values travel down the call chain and never back up.

    A value that is set here travels with each later call of the same task, and with the calls that the called grains
    make. A callee's changes do not reach its caller. Values are small scalars. Keys that start with "grange." are
    reserved for the runtime. Setting a value raises TypeError for another type, and ValueError for a value that the
    wire cannot carry: an integer over 64 bits, a lone surrogate, or more than `CONTEXT_LIMIT` bytes in total.
    """

    __slots__ = ()

    def __getitem__(self, key: str) -> Scalar:
        return context_values.get()[key]

    def __setitem__(self, key: str, value: Scalar) -> None:
        if type(key) is not str:
            raise TypeError(f"request context keys are str, not {type(key).__name__}")
        if key.startswith("grange."):
            raise ValueError(f"request context keys starting with 'grange.' are reserved for the runtime: {key!r}")
        values = {**context_values.get(), key: _scalar(value)}
        _check_size(values, key)
        context_values.set(values)

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
