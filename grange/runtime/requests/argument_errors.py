"""Errors of decoded arguments in the words of the method: its parameters in place of positions in an array. Pure."""

from __future__ import annotations

import re

from grange.grains.interface import MethodSpec

_TOO_FEW = re.compile(r"Expected `array` of at least length (\d+), got (\d+)")
_TOO_MANY = re.compile(r"Expected `array` of at most length (\d+)(, got \d+)?")
_MISSING = re.compile(r"Object missing required field `([^`]*)`")
_UNKNOWN = re.compile(r"Object contains unknown field `([^`]*)`")


def in_words(method: MethodSpec, text: str) -> str:
    """The text of msgspec's error about the arguments of a method, with the names of the arguments."""
    names = [parameter.name for parameter in method.parameters]
    if few := _TOO_FEW.fullmatch(text):
        return _are_missing(names[int(few[2]) : int(few[1])])
    if _TOO_MANY.fullmatch(text):
        return f"there are too many arguments; {_known(names)}"
    if missing := _MISSING.fullmatch(text):
        return _are_missing([missing[1]])
    if unknown := _UNKNOWN.fullmatch(text):
        return f"there is no argument {unknown[1]!r}; {_known(names)}"
    for position, name in enumerate(names):
        text = text.replace(f"$[{position}]", f"argument {name!r}")
        text = re.sub(rf"`\$\.{re.escape(name)}(?=[`.\[])", f"`argument {name!r}", text)
    return text


def _are_missing(names: list[str]) -> str:
    verb = "argument {} is missing" if len(names) == 1 else "the arguments {} are missing"
    return verb.format(", ".join(map(repr, names)))


def _known(names: list[str]) -> str:
    if not names:
        return "it takes none"
    return f"it takes {', '.join(names)}"
