"""References: typed handles to grains, the factory that makes them, and their encoding.

A reference class is made once per grain class. It has one forwarding method per callable method, so a call needs no
dynamic attribute lookup. Type checkers see the grain class itself.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NoReturn, Protocol, Self, TypeVar, cast, get_origin

from grange.errors import ConfigurationError, NoSuchGrain
from grange.grains.definition import Addressable, is_interface, spec_of
from grange.grains.enumeration import CallsGrains, Enumeration
from grange.grains.hooks import HOOKS
from grange.grains.interface import InterfaceSpec, MethodSpec
from grange.grains.observer import GrainObserver
from grange.grains.service import SiloService
from grange.proto.checks import Check, Found, Unfit, class_of
from grange.proto.ids import GrainId
from grange.proto.keys import Key, decode_key, encode_key
from grange.proto.message import Encoding
from grange.proto.sharing import LEAF_BYTES

G = TypeVar("G", bound=Addressable)

_REFERENCE_CLASS = "__grange_reference__"


class Reference:
    """A handle to one grain. Making, storing or sending it does no I/O and activates no grain.

    References compare and hash by grain id. The class has the grain's callable methods; other names raise
    AttributeError.
    """

    __slots__ = ("_grange_call", "_grange_id")
    _grange_spec: InterfaceSpec

    def __init__(self, grain_id: GrainId, call: CallsGrains) -> None:
        self._grange_id = grain_id
        self._grange_call = call

    @property  # type: ignore[misc]
    def __class__(self) -> type:  # pyright: ignore[reportIncompatibleMethodOverride, reportIncompatibleVariableOverride]
        """The grain class, so `isinstance` agrees with type checkers. `type(reference)` is the reference class."""
        return self._grange_spec.cls

    @property
    def id(self) -> GrainId:
        """The grain's id."""
        return self._grange_id

    @property
    def key(self) -> Key:
        """The grain's key, read from the reference without a call."""
        return decode_key(self._grange_spec.options.key, self._grange_id.key)

    @property
    def reference(self) -> Reference:
        """Itself, so the same code works on a grain and on a reference."""
        return self

    def __eq__(self, other: object) -> bool:
        return self._grange_id == other._grange_id if isinstance(other, Reference) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._grange_id)

    def __repr__(self) -> str:
        return f"<reference to {self._grange_spec.cls.__name__} {str(self._grange_id)!r}>"

    def __copy__(self) -> Self:
        """Itself: references are immutable."""
        return self

    def __deepcopy__(self, memo: object) -> Self:
        """Itself: references are immutable."""
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        """References call through the silo or client that made them: raises TypeError. `pickle` calls it."""
        raise TypeError(
            f"{self!r} cannot be pickled, because it belongs to this process; send its key ({self.key!r}) and call "
            "get_grain there"
        )

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(_missing_attribute(self._grange_spec, name), name=name, obj=self)


def reference_class(spec: InterfaceSpec) -> type[Reference]:
    """The reference class of a grain class or interface, made at first use and kept on that class."""
    made = spec.cls.__dict__.get(_REFERENCE_CLASS)
    if made is None or made._grange_spec is not spec:  # a class that was made anew has a copy of the attributes
        members: dict[str, Any] = {
            name: _stream(method) if method.streams else _forward(method) for name, method in spec.methods.items()
        }
        members |= {"__slots__": (), "_grange_spec": spec, "__doc__": spec.cls.__doc__}
        made = type(f"{spec.cls.__name__}Reference", (Reference,), members)
        setattr(spec.cls, _REFERENCE_CLASS, made)
    return cast("type[Reference]", made)


def grain_id_of(value: object) -> GrainId:
    """The grain id behind a reference. Raises TypeError for anything else."""
    if isinstance(value, Reference):
        return value.id
    raise TypeError(f"expected a reference to a grain, not {value!r}")


class Candidates(Protocol):
    """The grain types that implement an interface, and the one marked `default=True`, if any."""

    @property
    def types(self) -> tuple[str, ...]:
        """The names, sorted."""
        ...

    @property
    def default(self) -> str | None:
        """The name of the marked one."""
        ...


class GrainFactory:
    """Makes references. Each silo and client has one; grains reach theirs through `self.get_grain`."""

    def __init__(
        self,
        call: CallsGrains,
        implementations: Callable[[str], Candidates],
        learn: Callable[[Sequence[type[Exception]]], None] = lambda errors: None,
    ) -> None:
        self._call = call
        self._implementations = implementations
        self._learn = learn  # called with the `errors=` of the classes in use, which callers are to receive
        self._used: dict[str, InterfaceSpec] = {}  # by name, the class that was used last: it may be defined again

    def get_grain(self, grain: type[G], key: Key, *, implementation: str | None = None) -> G:
        """A reference to the grain with this key, typed as the class. Does no I/O and activates no grain.

        For an interface that several grains implement, `implementation` names the grain type (or a unique prefix).
        Raises TypeError for a wrong kind of key, ValueError for a blank or too long one, NoSuchGrain for an interface
        that no silo implements, and ConfigurationError for an ambiguous interface.
        """
        spec = spec_of(grain)
        text = _key_text(spec, key)
        name = self._resolve(spec, implementation) if is_interface(grain) else spec.name  # here: each call may need one
        return cast("G", self._reference(spec, GrainId(name, text)))

    def from_id(self, grain: type[G], grain_id: GrainId) -> G:
        """A reference to the grain with this id, for ids that were received or stored."""
        return cast("G", self._reference(spec_of(grain), grain_id))

    def grain_type(self, grain: type[Addressable], implementation: str | None = None) -> str:
        """The name of the grain type behind a class or an interface. Raises as `get_grain` does."""
        spec = spec_of(grain)
        return self._resolve(spec, implementation) if is_interface(grain) else spec.name

    def _reference(self, spec: InterfaceSpec, grain_id: GrainId) -> Reference:
        name = spec.options.name
        if self._used.get(name) is not spec:
            if issubclass(spec.cls, SiloService):
                raise ConfigurationError(
                    f"{spec.cls.__name__} is a silo service; use get_service({spec.cls.__name__}, key)"
                )
            self._learn(spec.options.errors)
            self._used[name] = spec
        return reference_class(spec)(grain_id, self._call)

    def _resolve(self, spec: InterfaceSpec, wanted: str | None) -> str:
        candidates = self._implementations(spec.name)
        names = candidates.types
        if not names:
            raise NoSuchGrain(f"no implementation of the interface {spec.name!r} was found in any silo")
        if wanted is None:
            if candidates.default is not None or len(names) == 1:
                return candidates.default or names[0]
            raise ConfigurationError(
                f"the interface {spec.name!r} is implemented by {', '.join(names)}; "
                "choose one with implementation=, or mark one class default=True"
            )
        matching = [name for name in names if name == wanted] or [name for name in names if name.startswith(wanted)]
        if len(matching) != 1:
            raise ConfigurationError(
                f"implementation={wanted!r} of the interface {spec.name!r} must match exactly one of "
                f"{', '.join(names)}; it matches {len(matching)}"
            )
        return matching[0]


class ReferenceExtension:
    """Encodes values annotated with a grain class or interface (`proto.values.Extension`), as `type/key`.

    Decoded references call through the factory of this process.
    """

    def __init__(self) -> None:
        self._factory: GrainFactory | None = None

    def bind(self, factory: GrainFactory) -> None:
        """Set the factory of decoded references. Called once at start-up, because factory and codec need each other."""
        self._factory = factory

    def matches(self, kind: type) -> bool:
        """Whether the type is a grain class or interface; a reference to a silo service stays in its silo."""
        cls = get_origin(kind) or kind
        return issubclass(cls, Addressable) and not issubclass(cls, SiloService)

    def is_text(self, kind: type) -> bool:
        """True: `type/key`."""
        return True

    def exact(self, kind: type) -> frozenset[type]:
        """The reference class of the annotation."""
        return frozenset({reference_class(spec_of(kind))})

    def shared(self, kind: type) -> dict[type, Callable[[Any], bool] | None]:
        """The reference class, because references never change, for ids that are short."""
        return {reference_class(spec_of(kind)): _is_short}

    def check(self, kind: type, encoding: Encoding) -> Check:
        """A reference to a grain of the annotated class, of one derived from it, or that implements the interface."""
        spec = spec_of(kind)

        def check(value: Any, found: Found) -> None:
            if not isinstance(value, Reference):
                if isinstance(value, Addressable):
                    raise Unfit(_not_a_reference(value))
                raise Unfit(f"Expected a reference to `{spec.cls.__name__}`, got `{class_of(value)}`")
            given = value._grange_spec  # pyright: ignore[reportPrivateUsage]
            if not (issubclass(given.cls, spec.cls) or (not is_interface(spec.cls) and value.id.type == spec.name)):
                raise Unfit(
                    f"Expected a reference to `{spec.cls.__name__}`, got one to `{given.cls.__name__}` ({value.id})"
                )

        return check

    def encode(self, value: Any, encoding: Encoding) -> Any:
        """The text `type/key`. Raises TypeError for a grain itself, which must not be sent."""
        if isinstance(value, Reference):
            return str(value.id)
        if isinstance(value, Addressable):
            raise TypeError(_not_a_reference(value))
        return NotImplemented

    def decode(self, kind: type[Any], data: Any) -> Any:
        """A reference, typed as the annotation. Raises ValueError for any other text."""
        name, slash, key = data.partition("/") if isinstance(data, str) else ("", "", "")
        if not (name and slash and key and self._factory is not None):
            raise ValueError(f"not a reference to a grain: {data!r:.80}")
        return self._factory.from_id(kind, GrainId(name, key))


def _not_a_reference(value: Addressable) -> str:
    """The message for a grain or an observer in place of its reference."""
    name = type(value).__name__
    if isinstance(value, GrainObserver):
        return f"an observer cannot be sent; pass the reference that create_observer returned for this {name}"
    return f"a grain cannot be sent; pass self.reference instead of {name}"


def _is_short(reference: Reference) -> bool:
    grain_id = reference.id
    return (
        len(grain_id.type) + len(grain_id.key) < LEAF_BYTES - 8 and grain_id.key.isascii() and grain_id.type.isascii()
    )


def _key_text(spec: InterfaceSpec, key: Key) -> str:
    try:
        return encode_key(spec.options.key, key)
    except (TypeError, ValueError) as error:
        if issubclass(spec.cls, GrainObserver):
            raise TypeError(f"{spec.cls.__name__} is an observer; create_observer makes its references") from None
        raise type(error)(f"grain {spec.name!r}: {error}") from None


def _forward(method: MethodSpec) -> Callable[..., Coroutine[Any, Any, Any]]:
    name = method.function.__qualname__.rpartition("<locals>.")[2]

    def call(self: Any, /, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, Any]:
        made = self._grange_call(self._grange_id, method, args, kwargs)
        made.__qualname__ = name  # Python names it when it was never awaited, and asyncio in the repr of its task
        return made  # type: ignore[no-any-return]

    functools.update_wrapper(call, method.function)
    return call


def _stream(method: MethodSpec) -> Callable[..., Enumeration]:
    def enumerate_items(self: Any, /, *args: Any, **kwargs: Any) -> Enumeration:
        return Enumeration(self._grange_call, self._grange_id, method, method.bind(args, kwargs))

    functools.update_wrapper(enumerate_items, method.function)
    return enumerate_items


def _missing_attribute(spec: InterfaceSpec, name: str) -> str:
    """The message of the AttributeError for `name`, with its reason."""
    cls = spec.cls
    message = f"a reference to {cls.__name__} has no {name!r}"
    if name.startswith("_"):
        return f"{message}: names with a leading underscore are private to the grain"
    if name in HOOKS:
        return f"{message}: it is a hook that only the runtime calls"
    member = inspect.getattr_static(cls, name, None)
    if callable(member):
        return f"{message}: it is not an async def; make it one to call it through a reference"
    if member is not None:
        return f"{message}: only methods can be called; give the grain an async def that returns it"
    return f"{message}; it has: {', '.join(sorted(spec.methods)) or 'no callable method'}"
