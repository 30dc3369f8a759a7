"""What authors declare about the stored form of a state: its version, upgrades, other names, indexed fields. Pure.

`layout.py` reads the declarations of the classes inside a state; `form.py` acts by them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal, TypeVar, get_args

import msgspec

from grange.errors import ConfigurationError

C = TypeVar("C", bound=type)

Fields = dict[str, Any]
"""What is stored of a state, as JSON has it: texts, numbers, truth values, None, lists and dicts."""

Upgrade = Callable[[Fields], Fields]
"""Turns what one version stored into what the next one would have stored. It may change its argument."""

UnknownFields = Literal["keep", "drop", "refuse"]

_ATTRIBUTE = "__grange_state_schema__"
_NO_UPGRADES: Mapping[int, Upgrade] = MappingProxyType({})


class StateSchema(msgspec.Struct, frozen=True):
    """The declaration of `@state_schema`. Rows of versions below `oldest` are not read any more."""

    version: int = 1
    upgrades: Mapping[int, Upgrade] = _NO_UPGRADES
    oldest: int = 1
    unknown_fields: UnknownFields = "keep"
    removed: frozenset[str] = frozenset()


UNDECLARED = StateSchema()
"""The schema of a class without the decorator."""


def state_schema(
    version: int = 1,
    *,
    upgrades: Mapping[int, Upgrade] = _NO_UPGRADES,
    oldest: int = 1,
    unknown_fields: UnknownFields = "keep",
    removed: tuple[str, ...] = (),
) -> Callable[[C], C]:
    """Declare how values of a class are stored. For dataclasses, Structs, attrs classes, TypedDicts, pydantic models.

    `version` is stored beside each record of a state of this class. Raise it when what older releases stored must be
    converted: `upgrades` has a function for each version from `oldest` on, which turns what this version stored into
    what the next one would have. A field that was added with a default needs neither.

    `unknown_fields` says what happens to stored fields that the class does not have, as a newer release stores them:
    they are kept and stored again ("keep"), lost with the next write ("drop"), or the grain is not activated
    ("refuse"). `removed` names fields that the class had once: they are lost with the next write.

    Classes inside the state declare `unknown_fields` and `removed` for their own fields; the version is that of the
    whole state. Raises ConfigurationError for a version without its upgrade.
    """

    def declare(cls: C) -> C:
        schema = StateSchema(version, MappingProxyType(dict(upgrades)), oldest, unknown_fields, frozenset(removed))
        _check(cls.__qualname__, schema, removed)
        setattr(cls, _ATTRIBUTE, schema)
        return cls

    return declare


class Renamed(msgspec.Struct, frozen=True):
    """Marks a field that had another name: `owner: Annotated[str, Renamed("name")]`.

    Rows with the old name are read, also those with the names of `also`, which are older still. The field is still
    stored as `name`, so that silos of the release before, and a roll back to it, find it there. When no silo runs that
    release any more, say `write="new"`: from then on the field is stored under its own name. If a row has several
    of the names, the field's own counts, then `name`.
    """

    name: str
    also: tuple[str, ...] = ()
    write: Literal["old", "new"] = "old"

    def __post_init__(self) -> None:
        if not (_is_tuple(self.also) and all(_is_text(each) for each in self.names)):
            raise ConfigurationError(f"Renamed({self.name!r}, also={self.also!r}): give the old names as texts")
        if self.write not in ("old", "new"):
            raise ConfigurationError(f'Renamed({self.name!r}, write={self.write!r}): say write="old" or write="new"')

    @property
    def names(self) -> tuple[str, ...]:
        """The old names, the newest first."""
        return (self.name, *self.also)


class Indexed(msgspec.Struct, frozen=True):
    """Marks a field by which grains are found: `owner: Annotated[str, Indexed()]`, see `find_grains`.

    The field is one of the state's own class, and a text, a number, a bool, an enum, a UUID, a date or a datetime with
    a time zone; None beside it is not found. Its value is stored in the same step as the state. With `unique`, a write
    of a value that another grain of the type has raises UniqueValueError, and nothing is stored.
    """

    unique: bool = False

    def __post_init__(self) -> None:
        if self.unique not in (True, False):
            raise ConfigurationError(f"Indexed(unique={self.unique!r}): say True or False; a name is not needed")


def schema_of(cls: object) -> StateSchema:
    """The declaration of a class or of a base of it; `UNDECLARED` without one."""
    found = getattr(cls, _ATTRIBUTE, UNDECLARED)
    return found if isinstance(found, StateSchema) else UNDECLARED


def _check(name: str, schema: StateSchema, removed: object) -> None:
    place = f"@state_schema of {name}"
    for option, value in (("version", schema.version), ("oldest", schema.oldest)):
        if not _is_version(value):
            raise ConfigurationError(f"{place}: {option}={value!r} must be a whole number from 1 on")
    if schema.oldest > schema.version:
        raise ConfigurationError(f"{place}: oldest={schema.oldest} is above version={schema.version}")
    missing = [step for step in range(schema.oldest, schema.version) if step not in schema.upgrades]
    if missing:
        raise ConfigurationError(
            f"{place}: upgrades has no function for version {missing[0]}, so rows of this version cannot be read; "
            f"add upgrades={{{missing[0]}: f}}, where f turns what version {missing[0]} stored into what version "
            f"{missing[0] + 1} would have stored, or say oldest={missing[-1] + 1} if no such row is left"
        )
    useless = [step for step in schema.upgrades if step not in range(schema.oldest, schema.version)]
    if useless:
        raise ConfigurationError(
            f"{place}: the upgrade of version {useless[0]!r} has no effect, because upgrades lead from version "
            f"{schema.oldest} to version {schema.version}; raise version, or remove it"
        )
    functions: Mapping[int, object] = schema.upgrades
    wrong = [step for step, upgrade in functions.items() if not callable(upgrade)]
    if wrong:
        raise ConfigurationError(f"{place}: the upgrade of version {wrong[0]} must be a function")
    if schema.unknown_fields not in get_args(UnknownFields):
        raise ConfigurationError(f'{place}: unknown_fields must be "keep", "drop" or "refuse"')
    if isinstance(removed, str):
        raise ConfigurationError(f"{place}: removed must be a tuple of names: removed=({removed!r},)")


def _is_version(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value < 1 << 31


def _is_tuple(value: object) -> bool:
    return isinstance(value, tuple)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)
