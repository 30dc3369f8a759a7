"""Strategies of applications: checked when they are given, and their errors and choices checked at each call."""

from __future__ import annotations

import inspect
from typing import Any

import msgspec

from grange.errors import ActivationFailed, CallNotExecuted, ConfigurationError
from grange.placement.provider import Choose, NamedStrategy, PlacementContext, PlacementStrategy
from grange.proto.ids import SiloAddress


class CustomStrategy(msgspec.Struct, frozen=True):
    """A strategy of an application. What it raises or returns is not trusted."""

    name: str
    computed: bool
    function: Choose
    uses_loads: bool = True

    def choose(self, context: PlacementContext) -> SiloAddress:
        """Its choice. Raises ActivationFailed for its errors and for a silo that is no candidate."""
        try:
            chosen = self.function(context)
        except CallNotExecuted:
            raise
        except Exception as error:
            raise ActivationFailed(
                f"{context.grain_id} was not activated: its placement {self.name!r} raised "
                f"{type(error).__qualname__}: {error}"
            ) from error
        if chosen not in context.candidates:
            raise ActivationFailed(
                f"{context.grain_id} was not activated: its placement {self.name!r} chose {chosen!r:.100}, which is "
                "none of its candidates"
            )
        return chosen


def as_strategy(given: PlacementStrategy | NamedStrategy | Choose, place: str = "placement=") -> PlacementStrategy:
    """The strategy that an author gave as an object or a function. Raises ConfigurationError for anything else.

    A function's name is its module and name; an object has `name` and `choose`, and perhaps `computed = True`.
    """
    untyped: Any = given
    if isinstance(untyped, type):
        raise ConfigurationError(
            f"{place} takes an object, not the class {untyped.__name__}; write {untyped.__name__}()"
        )
    if type(untyped).__module__ in BUILT_IN:
        return untyped  # type: ignore[no-any-return]
    if inspect.isfunction(untyped):
        _check_callable(place, untyped)
        return CustomStrategy(f"{untyped.__module__}.{untyped.__qualname__}", False, untyped)
    name, choose = getattr(untyped, "name", None), getattr(untyped, "choose", None)
    if not isinstance(name, str) or not name.strip() or not callable(choose):
        raise ConfigurationError(
            f"{place} takes the name of a strategy, a function of one argument (PlacementContext), or an object with a "
            f"name and choose(context); {given!r:.100} is none"
        )
    _check_callable(place, choose)
    return CustomStrategy(name, bool(getattr(untyped, "computed", False)), untyped.choose)


BUILT_IN = frozenset({"grange.placement.strategies", "grange.placement.filters", "grange.placement.custom"})
"""The modules whose strategies need no check."""


def _check_callable(place: str, function: Any) -> None:
    name = getattr(function, "__qualname__", function)
    if inspect.iscoroutinefunction(function):
        raise ConfigurationError(f"{place} takes a function that decides without waiting; {name} is async")
    try:
        inspect.signature(function).bind(None)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{place} takes a function of one argument, the context: {name}: {error}") from None
