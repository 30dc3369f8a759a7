"""The errors of a silo's options: each names the option, its origin, what is allowed and the remedy.

No message shows a value that may hold a password. Pure.
"""

from __future__ import annotations

import difflib
import enum
import re
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Any, Literal, TypeVar, cast, get_args, get_origin

import msgspec
import pydantic

from grange.databases.urls import HIDDEN
from grange.errors import OptionError
from grange.option_ranges import OutOfRange

OptionsType = TypeVar("OptionsType", bound=msgspec.Struct)

URLS = frozenset({"membership", "storage", "storages", "audit"})
"""The options whose values may hold passwords; no message shows them."""

TOKENS = frozenset({"admin_token", "operator_token", "viewer_token"})
"""The options that are secrets; no message shows them."""

OriginOf = Callable[[tuple[str, ...]], str]
"""Names the origin of an option, given as a path of keys: a variable or a file. Empty for a keyword."""

_SECONDS = "a number of seconds above 0, at most 1000000000"
_PORT = "a whole number from 0 to 65535"
_TABLE = "a table of options"
_FLAG = "true or false"
_TEXTS = "a list of texts"

_ALLOWED: Mapping[str, str] = MappingProxyType({
    "port": _PORT, "gateway_port": _PORT, "probe_port": _PORT, "road_port": _PORT, "gateway_road_port": _PORT,
    "http": f"{_PORT}, or off", "http_hosts": "a list of texts",
    "road": "grpc or tcp", "data": "the path of a folder", "membership": "a URL",
    "storage": "a URL", "storages": "a table of names and URLs", "labels": _TEXTS, "revision": "a whole number from 0",
    "actions": _TEXTS, "redact": _TEXTS, "authorization": "enforce or audit",
    "allow": "a list of tables with who and call",
    "insecure": _FLAG, "exit_on_dead_loop": _FLAG, "keep_logs": _FLAG, "drain_timeout": _SECONDS, "runtime": _TABLE,
    "membership_options": _TABLE, "admin_token": "a text", "operator_token": "a text", "viewer_token": "a text",
    "directory": _TABLE, "transport": _TABLE, "storage_options": _TABLE, "placement_options": _TABLE,
    "dashboard": _TABLE, "versions": _TABLE, "reminders": _TABLE, "tls": _TABLE, "vault": _TABLE,
    "secrets_stale": _SECONDS,
})  # fmt: skip

_HEADINGS: Mapping[str, str] = MappingProxyType({
    "membership": "the options of the membership protocol stand in [membership_options]",
    "storage": "the options of storage stand in [storage_options], further storages in [storages]",
})  # fmt: skip

_KINDS: Mapping[str, str] = MappingProxyType({
    "int": "a whole number", "float": "a number, without a unit", "bool": _FLAG, "str": "a text", "array": "a list",
})  # fmt: skip

_EXPECTED = re.compile(r"Expected `(\w+)( \| null)?`(, got .*)?")

SIMILAR = 0.75
"""Least similarity of two names (0 to 1, by `difflib`) at which one is suggested for the other."""


ARGUMENTS = (
    "grains", "services", "errors", "placement", "silo_services", "startup", "background", "incoming_filters",
    "outgoing_filters", "config", "telemetry", "authenticate", "authorize", "known_secrets",
)  # fmt: skip
"""The arguments of `Silo` that are no options: objects and functions, which no file can hold."""


class UnknownOption(OptionError):
    """A name that no option has."""

    subject = "unknown option"


def unknown_option(
    path: tuple[str, ...], known: Collection[str], origin: str, place: str = "", value: object = None
) -> OptionError:
    """The error for a name that is no option. `known` are the names at this place, `place` is the right place of it."""
    name = path[-1]
    if place:
        remedy = f"this option stands {place}"
    elif len(path) == 1 and isinstance(value, Mapping):
        remedy = "there is no such table; the options of a silo stand at the top of the file, before any table"
    else:
        remedy = _similar(name, known, of_silo=len(path) == 1) or f"known are {', '.join(sorted(known))}"
    return UnknownOption(".".join(path), remedy, origin)


def _similar(name: str, known: Collection[str], of_silo: bool) -> str:
    """The question after the name that was meant; empty if none is like it. `of_silo`: arguments of `Silo`, too."""
    word = name.replace("-", "_").lower()
    close = difflib.get_close_matches(word, [*known, *(ARGUMENTS if of_silo else ())], n=1, cutoff=SIMILAR)
    close = close or [each for each in ARGUMENTS if of_silo and each.endswith(f"_{word}")][:1]
    if not close:
        return ""
    return f"did you mean {close[0]!r}{', an argument of Silo' if close[0] not in known else ''}?"


def explained(
    error: pydantic.ValidationError, known: Collection[str], origin_of: OriginOf, table_of: Callable[[str], str]
) -> OptionError:
    """The plain error for the first problem that pydantic found. `table_of` names the table of an option."""
    problem = error.errors()[0]
    path = tuple(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        table = table_of(path[0])
        place = f"in the table {table!r}" if table else ""
        return unknown_option(path, known, origin_of(path), place, problem["input"])
    option, value = path[0], problem["input"]
    path = path if option == "storages" else path[:1]
    cause = problem.get("ctx", {}).get("error")
    if isinstance(cause, ValueError) and str(cause):
        return OptionError(".".join(path), str(cause), origin_of(path))
    allowed = _ALLOWED.get(option, "a text") if len(path) == 1 else "a URL"
    return OptionError(".".join(path), f"must be {allowed}{_found(option, value)}", origin_of(path))


def _found(option: str, value: object) -> str:
    kind, text = type(value).__name__, f"{value!r}"
    if option in _HEADINGS and kind == "dict":
        return f", not a table; {_HEADINGS[option]}"
    if option in URLS | TOKENS:
        return f", not {HIDDEN} of the type {kind}"
    return f", not {text if len(text) <= 100 else text[:99] + HIDDEN}"


def wrong_type(text: str, value: object) -> str:
    """What is wrong with the value of an option, in plain words where msgspec's `text` names a type that has some."""
    found = _EXPECTED.fullmatch(text)
    kind = _KINDS.get(found[1]) if found is not None else None
    return f"{text if kind is None else f'must be {kind}'}, not {value!r:.100}"


def paths_of(values: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The options that these keywords set, as paths of names; a table counts as itself, too."""
    inside: list[tuple[str, ...]] = []
    for name, table in values.items():
        if isinstance(table, Mapping):
            inside += [(name, str(key)) for key in cast("Mapping[str, Any]", table)]
    return [*((name,) for name in values), *inside]


def converted(
    values: Mapping[str, Any], kind: type[OptionsType], wrong: Callable[[tuple[str, ...], str], OptionError]
) -> OptionsType:
    """A table as its class. `wrong` makes the error about one of its options, or about all of them: no name."""
    for name, value in values.items():
        try:  # each by itself, so that the error names it
            msgspec.convert({name: value}, kind, strict=False)
        except msgspec.ValidationError as error:
            if isinstance(error.__cause__, OutOfRange) or error.__cause__ is None:
                raise wrong((name,), reason_of(error, kind, name, value)) from None
    try:
        return msgspec.convert(dict(values), kind, strict=False)
    except msgspec.ValidationError as error:  # two options that do not fit together
        raise wrong((), str(error.__cause__ or error)) from None


def reason_of(error: msgspec.ValidationError, kind: type, name: str, value: object) -> str:
    """Why a value of a table of options, `kind`, does not fit, in the words of the option."""
    if error.__cause__ is not None:
        return str(error.__cause__)
    text = str(error).partition(" - at")[0]
    if isinstance(value, Mapping):  # a table within the table: the text has the value
        return text[:1].lower() + text[1:]
    choices = choices_of(next(field.type for field in msgspec.structs.fields(kind) if field.name == name))
    if choices and text.startswith("Invalid enum value"):
        return f"must be one of {', '.join(map(repr, choices))}, not {value!r:.100}"
    return wrong_type(text, value)


def choices_of(annotation: Any) -> list[object]:
    """The values of a Literal or an enum; none for another type."""
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    if isinstance(annotation, enum.EnumMeta):
        return [each.value for each in cast("type[enum.Enum]", annotation)]
    return []
