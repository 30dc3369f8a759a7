"""The request context: values that travel with a call beside its arguments.

Holds the context variables of grange but those of traces (`observability/log_context.py`) and of blocking threads
(`aio/blocking_threads.py`).
"""

from __future__ import annotations

import random
from collections.abc import Generator, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import Protocol, cast

import msgspec

from grange.grains.with_block import WithBlock
from grange.proto.ids import GrainId, SiloAddress

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

HIDDEN = "$"
"""The first character of keys that only the runtime sets and sees."""

PLACE = "$place"
"""The key of a placement hint: the address of a silo as text. It ends with the call for which it was given."""

IDEMPOTENCY = "$idempotency"
"""The key of an idempotency key. It ends with the call for which it was given."""

MOST_KEY = 200
"""Most characters of an idempotency key: it is part of a name in the store."""

context_values: ContextVar[Mapping[str, Scalar]] = ContextVar("grange_request_context", default=_EMPTY)
"""The request context of the running code. `runtime/calls/caller.py` reads it; `runtime/activations/invoker.py` sets
it. The mapping is never changed in place."""


class Turn(Protocol):
    """The code of a grain that runs: a turn, a scope of one (`grains/reentrancy.py`), or a hook of its activation.

    holder: its activation. principal: the identity of its call (`proto/identity.py`). spoken: that of the calls that it
    makes, onward: their chain (`proto/chain.py`); both are empty before the first one.
    """

    @property
    def grain_id(self) -> GrainId:
        """The grain."""
        ...

    @property
    def holder(self) -> object:
        """Its activation."""
        ...

    @property
    def principal(self) -> bytes:
        """The identity of its call; empty: none."""
        ...

    @property
    def spoken(self) -> bytes:
        """The identity of its calls; empty before the first one."""
        ...

    def speak(self) -> bytes:
        """Make `spoken`: its caller, by way of this grain."""
        ...

    @property
    def onward(self) -> bytes:
        """The chain of its calls; empty before the first one."""
        ...

    def extend(self, dice: random.Random) -> bytes:
        """Make `onward`, with a link by chance."""
        ...


current_turn: ContextVar[Turn | None] = ContextVar("grange_turn", default=None)
"""The turn that runs; None outside grains. `runtime/activations/invoker.py` and `runtime/activations/lifecycle.py` set
it."""


acting: ContextVar[bytes] = ContextVar("grange_acting", default=b"")
"""The identity for which code outside of grains makes its calls; empty: its own. `grains/acting.py` sets it."""


@contextmanager
def speaking_as(principal: bytes) -> Generator[None]:
    """Within the block, calls of this task have this identity, if they are made outside of grains."""
    token = acting.set(principal)
    try:
        yield
    finally:
        acting.reset(token)


def running_grain_type() -> str:
    """The grain type of the turn that runs; empty outside grains."""
    turn = current_turn.get()
    return "" if turn is None else turn.grain_id.type


class RequestContext(MutableMapping[str, Scalar]):
    """A mapping whose values travel down the call chain and never back up.

    A value that is set here travels with each later call of the same task, and with the calls that the called grains
    make. A callee's changes do not reach its caller. Values are small scalars. Keys that start with "grange." or "$"
    are reserved for the runtime. Setting a value raises TypeError for another type, and ValueError for a value that the
    wire cannot carry: an integer over 64 bits, a lone surrogate, or more than `CONTEXT_LIMIT` bytes in total.
    """

    __slots__ = ()

    def __getitem__(self, key: str) -> Scalar:
        if _is_hidden(key):
            raise KeyError(key)
        return context_values.get()[key]

    def __setitem__(self, key: str, value: Scalar) -> None:
        if type(key) is not str:
            raise TypeError(f"request context keys are str, not {type(key).__name__}")
        if key.startswith(("grange.", HIDDEN)):
            raise ValueError(
                f"request context keys starting with 'grange.' or {HIDDEN!r} are reserved for the runtime: {key!r}"
            )
        values = {**context_values.get(), key: _scalar(value)}
        _check_size(values, key)
        context_values.set(values)

    def __delitem__(self, key: str) -> None:
        if _is_hidden(key):
            raise KeyError(key)
        values = dict(context_values.get())
        del values[key]
        context_values.set(values)

    def __iter__(self) -> Iterator[str]:
        return iter([key for key in context_values.get() if not _is_hidden(key)])

    def __len__(self) -> int:
        return sum(not _is_hidden(key) for key in context_values.get())

    def __repr__(self) -> str:
        return f"request_context({dict(self)!r})"


request_context = RequestContext()
"""The request context of the code that reads it."""


class placement_hint(WithBlock):
    """Within the block, calls of this task activate grains on this silo: `with placement_hint(silo): await cart.add()`.

    It counts for grains that have no activation, also against their placement, if the silo is active, hosts the class
    and takes new grains; else their placement chooses as ever. It does not travel to the calls that the called grains
    make. Raises TypeError for anything but a SiloAddress.
    """

    __slots__ = ("_silo", "_token")
    FORM = "placement_hint(silo)"
    _token: Token[Mapping[str, Scalar]]

    def __init__(self, silo: SiloAddress) -> None:
        if not isinstance(cast("object", silo), SiloAddress):
            raise TypeError(f"placement_hint takes a SiloAddress, such as silo.address, not {silo!r:.100}")
        super().__init__()
        self._silo = str(silo)

    def _begin(self) -> None:
        self._token = context_values.set({**context_values.get(), PLACE: self._silo})

    def _end(self) -> None:
        context_values.reset(self._token)


class idempotency_key(WithBlock):
    """Within the block, calls of this task have this key: `with idempotency_key("order-17"): await cart.pay()`.

    An `@idempotent` method runs once for each grain, method and key; a repetition gets the kept answer. Make the key
    where the intent begins (the click, the message), and repeat the call with it until there is an answer. A call of
    another method within the block is refused as InvalidCall. The key does not travel to the calls that the called
    grains make. Raises TypeError and ValueError for anything but a text of 1 to 200 characters without NUL.
    """

    __slots__ = ("_key", "_token")
    FORM = "idempotency_key(key)"
    _token: Token[Mapping[str, Scalar]]

    def __init__(self, key: str) -> None:
        if type(key) is not str:
            raise TypeError(f"an idempotency key is a str, not {type(key).__name__}")
        if not key.strip() or len(key) > MOST_KEY or "\0" in key:
            raise ValueError(f"an idempotency key has 1 to {MOST_KEY} characters, and no NUL: {key[:40]!r}")
        super().__init__()
        self._key = key

    def _begin(self) -> None:
        self._token = context_values.set({**context_values.get(), IDEMPOTENCY: self._key})

    def _end(self) -> None:
        context_values.reset(self._token)


def key_of(context: Mapping[str, Scalar] | None) -> str:
    """The idempotency key of a call; empty without one."""
    key = None if context is None else context.get(IDEMPOTENCY)
    return key if isinstance(key, str) else ""


def place_of(context: Mapping[str, Scalar] | None) -> str:
    """The silo that the placement hint of a call names, as text; empty without one."""
    place = None if context is None else context.get(PLACE)
    return place if isinstance(place, str) else ""


def of_turn(context: Mapping[str, Scalar]) -> Mapping[str, Scalar]:
    """The part of a call's context that the turn gets: all but what ends with the call."""
    if PLACE not in context and IDEMPOTENCY not in context:
        return context
    return {key: value for key, value in context.items() if key not in (PLACE, IDEMPOTENCY)}


def visible(context: Mapping[str, Scalar]) -> Mapping[str, Scalar]:
    """The part of a call's context that user code may see."""
    return {key: value for key, value in context.items() if not _is_hidden(key)}


def _is_hidden(key: object) -> bool:
    return isinstance(key, str) and key.startswith(HIDDEN)
