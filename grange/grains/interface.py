"""Reads the methods of a class that can be called through a reference, with their parameters and types. Pure.

`outline` runs when a class is defined and does not resolve annotations. `read_interface` runs at the first use and
resolves all of them. A method that overrides one of a base class or interface has the options of both.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from grange.errors import ConfigurationError, InvalidCall
from grange.grains.decorators import NO_OPTIONS, MethodOptions, hidden_options, method_options
from grange.grains.generics import Unresolved, bindings, check_bound, check_complete, method_hints
from grange.grains.hooks import HOOKS, Hooks
from grange.grains.items import (
    HIDDEN,
    beginning,
    check_awaited,
    close,
    fetch_next,
    item_type,
    returns_items,
    stream_options,
)
from grange.grains.options import GrainOptions
from grange.proto.versions import interface_version

ALWAYS = MethodOptions(always_interleave=True)
"""The options of a hidden method that ends an enumeration."""

DEFINITION = "__grange_definition__"
"""The attribute of grain classes and interfaces that holds their definition (`definition.py`)."""


class Declared(msgspec.Struct, frozen=True, eq=False):
    """One method of a class as written: the class that defines it, and its options with the inherited ones.

    `streams`: it yields items to its caller.
    """

    name: str
    function: Callable[..., Any]
    owner: type
    options: MethodOptions
    streams: bool = False


class MethodSpec:
    """One callable method: its name, parameters, types and options. Compared by identity.

    `invoke(grain, *args)` calls the method with all arguments in the order of the signature; it returns the coroutine.
    Of a streamed method it returns the generator, and `result` is the type of its items; `fetch` and `close` are the
    hidden methods for the next batches and for the end.
    `interface_version`: the version that callers by this class need, as requests carry it (`proto/versions.py`).
    """

    __slots__ = (
        "arity",
        "close",
        "fetch",
        "fewest",
        "function",
        "interface_version",
        "invoke",
        "keyword_only",
        "name",
        "options",
        "owner",
        "parameters",
        "result",
        "signature",
        "streams",
        "types",
    )

    def __init__(self, owner: str, declared: Declared, hints: Mapping[str, Any], version: int = 0) -> None:
        self.owner = owner
        self.interface_version = interface_version(owner, version)
        self.name = declared.name
        self.function = function = declared.function
        self.options = declared.options
        without_self = list(inspect.signature(function).parameters.values())[1:]
        self.signature = inspect.Signature(without_self)
        self.parameters = tuple(without_self)
        self.arity = len(self.parameters)
        self.types: tuple[Any, ...] = tuple(hints[parameter.name] for parameter in self.parameters)
        self.result: Any = hints["return"]
        self.keyword_only = tuple(p.name for p in self.parameters if p.kind is inspect.Parameter.KEYWORD_ONLY)
        # From `fewest` to `arity` positional arguments need no binding; arity + 1: arguments always need it.
        required = sum(parameter.default is parameter.empty for parameter in self.parameters)
        self.fewest = self.arity + 1 if self.keyword_only else required
        self.invoke: Callable[..., Any] = self._invoke_with_keywords if self.keyword_only else function
        self.streams = declared.streams
        self.fetch: MethodSpec | None = None
        self.close: MethodSpec | None = None
        if self.streams and not self.name.startswith(HIDDEN):
            self._stream()

    def __repr__(self) -> str:
        return f"{self.owner}.{self.name}"

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """All arguments as one tuple in the order of the signature; trailing defaults may be missing.

        Raises InvalidCall (a TypeError) with the method's name.
        """
        if not kwargs and self.fewest <= len(args) <= self.arity:
            return args
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise InvalidCall(f"{self!r}: {error}") from None
        if len(bound.arguments) != self.arity and list(bound.arguments) != [
            parameter.name for parameter in self.parameters[: len(bound.arguments)]
        ]:
            bound.apply_defaults()
        return tuple(bound.arguments.values())

    def _stream(self) -> None:
        """Make the hidden methods of an enumeration."""
        options = stream_options(repr(self), self.options)
        self.options = beginning(options)
        number = {"number": int}
        fetch = Declared(f"{HIDDEN}next.{self.name}", fetch_next, object, options, streams=True)
        self.fetch = MethodSpec(self.owner, fetch, {**number, "most": int, "return": self.result})
        end = Declared(f"{HIDDEN}close.{self.name}", close, object, ALWAYS)
        self.close = MethodSpec(self.owner, end, {**number, "wait": bool, "return": type(None)})

    def _invoke_with_keywords(self, grain: object, *args: Any) -> Any:
        split = self.arity - len(self.keyword_only)
        return self.function(grain, *args[:split], **dict(zip(self.keyword_only, args[split:], strict=False)))


class InterfaceSpec(msgspec.Struct, frozen=True, eq=False):
    """The specification of a grain class or interface."""

    cls: type
    options: GrainOptions
    methods: Mapping[str, MethodSpec]

    @property
    def name(self) -> str:
        """The grain type or the interface's name."""
        return self.options.name

    @property
    def hidden(self) -> Iterator[MethodSpec]:
        """The methods that only the runtime calls."""
        for method in self.methods.values():
            if method.fetch is not None and method.close is not None:
                yield method.fetch
                yield method.close


def _is_async(member: object) -> bool:
    """Whether a member is an async function. Since Python 3.13 `inspect` says so of a partialmethod, too."""
    return inspect.iscoroutinefunction(member) and not isinstance(member, functools.partialmethod)


def outline(cls: type, base_names: frozenset[str], is_interface: bool, hooks: Hooks = HOOKS) -> dict[str, Declared]:
    """The public async methods of a class by name, checked without resolving annotations.

    Raises ConfigurationError for methods that could not be called: missing annotations, `*args`; and for method options
    where they have no effect.
    """
    methods: dict[str, Declared] = {}
    for name in dir(cls):
        if name in base_names and name not in hooks:
            continue
        function = inspect.getattr_static(cls, name)
        place = f"{cls.__name__}.{name}"
        if name.startswith("_") or name in hooks:
            _check_no_options(place, function)
            continue
        owner = next(base for base in cls.__mro__ if name in base.__dict__)
        streams = inspect.isasyncgenfunction(function) or (
            _is_interface(owner, cls, is_interface) and returns_items(function)
        )
        if streams or _is_async(function):
            blocking = method_options(function).blocking
            options = msgspec.structs.replace(inherited_options(name, cls.__mro__), blocking=blocking)
            declared = Declared(name, function, owner, options, streams)
            _check_signature(place, declared)
            if not streams:
                check_awaited(place, function, _is_interface(owner, cls, is_interface))
            methods[name] = declared
        elif (hidden := hidden_options(function)) != NO_OPTIONS:
            raise ConfigurationError(
                f"{place} has method options but is not an async def, so {hidden} has no effect; make it a plain "
                "async def method, and decorators around it async too"
            )
        elif is_interface and inspect.isfunction(function):
            raise ConfigurationError(
                f"{place}: an interface holds methods that callers await; make it an async def. A method that streams "
                "its items is a def whose result is annotated AsyncIterator[T]"
            )
    return methods


def _is_interface(owner: type, cls: type, is_interface: bool) -> bool:
    """Whether the class that has a method is an interface; `cls` itself is being defined."""
    definition = owner.__dict__.get(DEFINITION)
    return is_interface if owner is cls or definition is None else bool(definition.is_interface)


def inherited_options(name: str, classes: Iterable[type]) -> MethodOptions:
    """The options of a method and of the methods that it overrides, as `classes` define them, the nearest first."""
    options = NO_OPTIONS
    for cls in classes:
        options = options.over(method_options(cls.__dict__.get(name)))
    return options


def read_interface(cls: type, options: GrainOptions, methods: Mapping[str, Declared]) -> InterfaceSpec:
    """Resolve all annotations. Raises ConfigurationError with the method whose annotation cannot be resolved."""
    specs: dict[str, MethodSpec] = {}
    for name, declared in methods.items():
        place = f"{cls.__name__}.{name}"
        try:
            hints = method_hints(declared.function, declared.owner, bindings(cls))
        except Unresolved as error:
            raise ConfigurationError(f"{place}: an annotation cannot be resolved: {error}") from error
        if declared.streams:
            hints["return"] = item_type(hints["return"], place)
        for part, hint in hints.items():
            where = f"{place}, {'result' if part == 'return' else f'argument {part!r}'}"
            check_bound(hint, where)
            check_complete(hint, where)
        specs[name] = MethodSpec(options.name, declared, hints, options.version)
    return InterfaceSpec(cls, options, specs)


def _check_no_options(place: str, member: object) -> None:
    hidden = hidden_options(member)
    if hidden != NO_OPTIONS:
        raise ConfigurationError(
            f"{place}: {hidden} has no effect on a hook or a private method, because no reference calls it; remove it "
            "(a timer's callback interleaves with start_timer(..., interleave=True))"
        )


def _check_signature(place: str, declared: Declared) -> None:
    signature = inspect.signature(declared.function)
    first, *others = signature.parameters.values() or (None,)
    if first is None or first.kind not in (first.POSITIONAL_ONLY, first.POSITIONAL_OR_KEYWORD):
        raise ConfigurationError(f"{place}: the first parameter must be self")
    for parameter in others:
        if parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
            raise ConfigurationError(f"{place}: *{parameter.name} cannot be sent; name each argument")
        if parameter.annotation is inspect.Parameter.empty:
            raise ConfigurationError(f"{place}: the argument {parameter.name!r} needs a type annotation")
    if signature.return_annotation is inspect.Signature.empty:
        raise ConfigurationError(f"{place}: the result needs a type annotation (-> None if there is none)")
    if declared.streams:
        stream_options(place, declared.options)
    else:
        _check_options(place, declared.options, signature)


def _check_options(place: str, options: MethodOptions, signature: inspect.Signature) -> None:
    if options.one_way and signature.return_annotation not in (None, "None", type(None)):
        raise ConfigurationError(f"{place}: a one-way method has no answer, so it must return None")
    if options.one_way and options.cancellable:
        raise ConfigurationError(
            f"{place}: @cancellable has no effect on a one-way method, because no caller waits for it; remove it"
        )
    if options.transactional and (options.read_only or options.always_interleave):
        raise ConfigurationError(
            f"{place}: {options} contradict each other: no other turn may run beside a transactional method, because "
            "what it changes may still be rolled back; remove one"
        )
    if options.cancels and not options.cancellable:
        raise ConfigurationError(
            f"{place}: cancel=True of @response_timeout has no effect on a method that is not @cancellable; add that, "
            "or remove cancel=True"
        )
