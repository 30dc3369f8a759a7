"""The value of a state before its first write."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, TypedDict, TypeVar
from uuid import UUID

import msgspec
import pytest

from grange.errors import ConfigurationError
from grange.storage.states.defaults import default_factory

T = TypeVar("T")


@dataclass
class Cart:
    items: dict[str, int] = field(default_factory=dict)


@dataclass
class Needy:
    size: int


class Box(msgspec.Struct, Generic[T]):
    held: T | None = None


class Totals(TypedDict, total=False):
    flights: int


class Required(TypedDict):
    flights: int


class Pair(NamedTuple):
    left: int = 1


class Colour(enum.Enum):
    RED = 1


Count = NewType("Count", int)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (int, 0),
        (str, ""),
        (bool, False),
        (dict, {}),
        (list[int], []),
        (dict[str, list[int]], {}),
        (set[int], set()),
        (tuple[int, ...], ()),
        (Cart, Cart()),
        (Box[int], Box()),
        (Totals, {}),
        (Pair, Pair()),
        (Count, 0),
        (Annotated[int, "unit: pieces"], 0),
        (None, None),
        (int | None, None),
        (Needy | None, None),
    ],
)
def test_a_default_is_made_by_the_type_without_arguments(kind: Any, expected: object) -> None:
    assert default_factory(kind, "Cart.__init__")() == expected


def test_every_default_is_fresh() -> None:
    make = default_factory(Cart, "Cart.__init__")
    assert make() is not make()
    assert make().items is not make().items


@pytest.mark.parametrize("kind", [Needy, datetime, UUID, Colour, Required, Literal["a"], Any, int | str, T])
def test_a_type_without_a_default_is_refused_with_the_place(kind: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^Cart.__init__, 'state': .* no default .*| None"):
        default_factory(kind, "Cart.__init__, 'state'")
