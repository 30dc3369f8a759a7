"""Makes the value of a state before its first write: a fresh default of its type. Pure.

Called when a grain class is checked, so a type without a default is refused there and not at the first call.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Annotated, Any, Union, cast, get_args, get_origin, is_typeddict

from grange.errors import ConfigurationError


def default_factory(value_type: object, place: str) -> Callable[[], Any]:
    """A function that makes a fresh default of this type: None if the type allows it, else its constructor's result.

    `place` names the class and parameter in the error. Raises ConfigurationError when the constructor needs arguments,
    or the type has none.
    """
    plain = _plain(value_type)
    if plain is None or plain is types.NoneType or _may_be_none(plain):
        return _none
    if is_typeddict(plain) and plain.__required_keys__:
        raise _without_default(value_type, place, "it has required keys")
    if not isinstance(get_origin(plain) or plain, type):
        raise _without_default(value_type, place, "it cannot be constructed")
    factory = cast("Callable[[], Any]", plain)
    try:
        factory()
    except Exception as error:
        raise _without_default(value_type, place, str(error)) from None
    return factory


def _plain(value_type: object) -> Any:
    """The type without Annotated, NewType and `type` aliases."""
    while True:
        if get_origin(value_type) is Annotated:
            value_type = get_args(value_type)[0]
        elif hasattr(value_type, "__supertype__"):
            value_type = cast("Any", value_type).__supertype__
        elif type(value_type).__name__ == "TypeAliasType":
            value_type = cast("Any", value_type).__value__
        else:
            return value_type


def _may_be_none(value_type: object) -> bool:
    return get_origin(value_type) in (Union, types.UnionType) and types.NoneType in get_args(value_type)


def _none() -> None:
    return None


def _without_default(value_type: object, place: str, reason: str) -> ConfigurationError:
    name = value_type.__qualname__ if isinstance(value_type, type) else str(value_type)
    return ConfigurationError(
        f"{place}: {name} has no default ({reason}), so there is no value before the first write; "
        f"give its fields defaults, or use PersistentState[{name} | None]"
    )
