"""Reads the methods of a class that can be called through a reference, with their parameters and types. Pure.

`outline` runs when a class is defined and does not resolve annotations. `read_interface` runs at the first use and
resolves all of them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

import msgspec

from grange.errors import ConfigurationError, InvalidCall
from grange.grains.decorators import MethodOptions, method_options
from grange.grains.options import GrainOptions

HOOKS = frozenset({"on_activate", "on_deactivate", "on_reminder", "on_call"})
"""Public methods that only the runtime calls; a reference does not have them."""


class MethodSpec:
    """One callable method: its name, parameters, types and options. Compared by identity."""

    __slots__ = (
        "arity",
        "function",
        "keyword_only",
        "name",
        "options",
        "owner",
        "parameters",
        "result",
        "signature",
        "types",
    )

    def __init__(self, owner: str, name: str, function: Callable[..., Any], hints: Mapping[str, Any]) -> None:
        self.owner = owner
        self.name = name
        self.function = function
        self.options: MethodOptions = method_options(function)
        without_self = list(inspect.signature(function).parameters.values())[1:]
        self.signature = inspect.Signature(without_self)
        self.parameters = tuple(without_self)
        self.arity = len(self.parameters)
        self.types: tuple[Any, ...] = tuple(hints[parameter.name] for parameter in self.parameters)
        self.result: Any = hints["return"]
        self.keyword_only = tuple(p.name for p in self.parameters if p.kind is inspect.Parameter.KEYWORD_ONLY)

    def __repr__(self) -> str:
        return f"{self.owner}.{self.name}"

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """All arguments as one tuple in the order of the signature; trailing defaults may be missing.

        Raises InvalidCall (a TypeError) with the method's name.
        """
        if not kwargs and not self.keyword_only and len(args) == self.arity:
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

    def invoke(self, grain: object, args: tuple[Any, ...]) -> Any:
        """Call the method on a grain; returns its coroutine."""
        if not self.keyword_only:
            return self.function(grain, *args)
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


def outline(cls: type, base_names: frozenset[str]) -> dict[str, Callable[..., Any]]:
    """The public async methods of a class by name, checked without resolving annotations.

    Raises ConfigurationError for methods that could not be called: missing annotations, `*args`, async generators.
    """
    methods: dict[str, Callable[..., Any]] = {}
    for name in dir(cls):
        function = inspect.getattr_static(cls, name)
        if name.startswith("_") or name in HOOKS or name in base_names:
            continue
        if inspect.isasyncgenfunction(function):
            raise ConfigurationError(
                f"{cls.__name__}.{name} is an async generator; return a list, or make its name start with an underscore"
            )
        if inspect.iscoroutinefunction(function):
            _check_signature(cls, name, function)
            methods[name] = function
        elif method_options(function) != MethodOptions():
            raise ConfigurationError(f"{cls.__name__}.{name} has method options but is not an async def")
    return methods


def read_interface(cls: type, options: GrainOptions, functions: Mapping[str, Callable[..., Any]]) -> InterfaceSpec:
    """Resolve all annotations. Raises ConfigurationError with the method whose annotation cannot be resolved."""
    methods: dict[str, MethodSpec] = {}
    for name, function in functions.items():
        try:
            hints = get_type_hints(function, include_extras=True)
        except NameError as error:
            raise ConfigurationError(f"{cls.__name__}.{name}: an annotation cannot be resolved: {error}") from error
        methods[name] = MethodSpec(options.name, name, function, hints)
    return InterfaceSpec(cls, options, methods)


def _check_signature(cls: type, name: str, function: Callable[..., Any]) -> None:
    signature = inspect.signature(function)
    place = f"{cls.__name__}.{name}"
    for parameter in list(signature.parameters.values())[1:]:
        if parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
            raise ConfigurationError(f"{place}: *{parameter.name} cannot be sent; name each argument")
        if parameter.annotation is inspect.Parameter.empty:
            raise ConfigurationError(f"{place}: the argument {parameter.name!r} needs a type annotation")
    if signature.return_annotation is inspect.Signature.empty:
        raise ConfigurationError(f"{place}: the result needs a type annotation (-> None if there is none)")
    if method_options(function).one_way and signature.return_annotation not in (None, "None", type(None)):
        raise ConfigurationError(f"{place}: a one-way method has no answer, so it must return None")
