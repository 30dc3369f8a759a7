"""What an activation carries when it moves: the hooks `dehydrate` and `rehydrate` of a grain class, checked. Pure."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from grange.errors import ConfigurationError
from grange.grains.generics import Unresolved, bindings, check_bound, check_complete, method_hints, shown

HINT_OF: Mapping[str, str] = MappingProxyType({"dehydrate": "return", "rehydrate": "memory"})
"""Where each of the two hooks names the type of what is carried."""

_SHAPE = "write async def dehydrate(self) -> T and async def rehydrate(self, memory: T) -> None"


def check_carried(cls: type) -> None:
    """Raise ConfigurationError for a class with one half of the pair, or one whose type is not named."""
    hooks = {name: inspect.getattr_static(cls, name, None) for name in HINT_OF}
    missing = [name for name, hook in hooks.items() if hook is None]
    if len(missing) == 1:
        raise ConfigurationError(f"grain class {cls.__name__} has no {missing[0]} for its other half; {_SHAPE}")
    for name, hook in hooks.items():
        if inspect.isfunction(hook) and HINT_OF[name] not in hook.__annotations__:
            raise ConfigurationError(f"{cls.__name__}.{name} does not name the type of what is carried; {_SHAPE}")


def carried_type(cls: type) -> Any:
    """The type of what the class carries; None if it carries nothing. Called at a silo's start.

    Raises ConfigurationError for a type that cannot be resolved, and for two hooks that name different ones.
    """
    if inspect.getattr_static(cls, "dehydrate", None) is None:
        return None
    kinds = [_hint(cls, name) for name in HINT_OF]
    if kinds[0] != kinds[1]:
        raise ConfigurationError(
            f"{cls.__name__}.dehydrate returns {shown(kinds[0])}, and rehydrate takes {shown(kinds[1])}; {_SHAPE}"
        )
    return kinds[0]


def _hint(cls: type, name: str) -> Any:
    place = f"{cls.__name__}.{name}"
    owner = next(base for base in cls.__mro__ if name in vars(base))
    try:
        hint = method_hints(vars(owner)[name], owner, bindings(cls))[HINT_OF[name]]
    except Unresolved as error:
        raise ConfigurationError(f"{place}: an annotation cannot be resolved: {error}") from error
    check_bound(hint, place)
    check_complete(hint, place)
    return hint
