"""Grain keys and their canonical text.

A class declares its kind of key once (`str`, `int`, `UUID`, or a tuple of these), so the text needs no type tag: `7`,
`ann`, `6f1e…-…`. The text of a tuple is its parts joined by `/`, with `/` and `\\` in the parts escaped by `\\`.
"""

from __future__ import annotations

from typing import cast, get_args, get_origin
from uuid import UUID

from grange.errors import ConfigurationError

Key = str | int | UUID | tuple[str | int | UUID, ...]
"""The values that may be a grain's key."""

KeyKind = type[str] | type[int] | type[UUID] | tuple[type, ...]
"""The kind of key of one grain class; a tuple of kinds for a compound key."""

MAX_KEY_LENGTH = 4096
"""Most characters of canonical text; every message, directory entry and row contains the key."""

_SIMPLE: tuple[type, ...] = (str, int, UUID)


def key_kind(annotation: object) -> KeyKind:
    """The kind of key of an annotation: `str`, `int`, `UUID`, `tuple[str, int]` or `(str, int)`."""
    if isinstance(annotation, type) and annotation in _SIMPLE:
        return annotation
    is_tuple = isinstance(annotation, tuple) or get_origin(annotation) is tuple
    parts = cast("tuple[type, ...]", annotation if isinstance(annotation, tuple) else get_args(annotation))
    if is_tuple and len(parts) >= 2 and all(part in _SIMPLE for part in parts):
        return tuple(parts)
    raise ConfigurationError(f"a grain key is str, int, UUID or a tuple of at least two of these, not {annotation!r}")


def encode_key(kind: KeyKind, key: object) -> str:
    """The canonical text of a key. Raises TypeError for a wrong kind, ValueError for a blank or too long key."""
    if isinstance(kind, tuple):
        text = _encode_compound(kind, key)
    elif type(key) is not kind:
        raise TypeError(f"the key must be {kind.__name__}, not {type(key).__name__}: {key!r}")
    else:
        text = str(key)
    _check(kind, text)
    return text


def decode_key(kind: KeyKind, text: str) -> Key:
    """The inverse of `encode_key`. Raises ValueError if the text is not a key of this kind."""
    _check(kind, text)
    if not isinstance(kind, tuple):
        return _decode_simple(kind, text)
    parts = _split(text)
    if len(parts) != len(kind):
        raise ValueError(f"the key {text!r} has {len(parts)} parts, expected {len(kind)}")
    key = tuple(_decode_simple(part_kind, part) for part_kind, part in zip(kind, parts, strict=True))
    if (canonical := _encode_compound(kind, key)) != text:
        raise ValueError(f"the key {text!r} is not in canonical form; expected {canonical!r}")
    return key


def kind_name(kind: KeyKind) -> str:
    """The name of a kind for messages: `int`, `tuple[str, int]`."""
    if isinstance(kind, tuple):
        return f"tuple[{', '.join(part.__name__ for part in kind)}]"
    return kind.__name__


def _check(kind: KeyKind, text: str) -> None:
    """Raise ValueError unless the text could be a key: not blank, not too long, valid Unicode."""
    if kind is str and not text.strip():
        raise ValueError("a string key must not be empty or blank")
    if len(text) > MAX_KEY_LENGTH:
        raise ValueError(f"the key has {len(text)} characters, the limit is {MAX_KEY_LENGTH}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"the key is not valid Unicode at character {error.start}: {text!r:.80}") from None


def _decode_simple(kind: type, text: str) -> str | int | UUID:
    if kind is str:
        return text
    value: int | UUID = int(text) if kind is int else UUID(text)
    if str(value) != text:
        raise ValueError(f"the key {text!r} is not in canonical form; expected {str(value)!r}")
    return value


def _encode_compound(kind: tuple[type, ...], key: object) -> str:
    parts = cast("tuple[object, ...]", key) if isinstance(key, tuple) else ()
    if [type(part) for part in parts] != list(kind):
        raise TypeError(f"the key must be {kind_name(kind)}, not {key!r}")
    return "/".join(str(part).replace("\\", "\\\\").replace("/", "\\/") for part in parts)


def _split(text: str) -> list[str]:
    parts = [""]
    characters = iter(text)
    for character in characters:
        if character == "/":
            parts.append("")
        else:
            parts[-1] += next(characters, "") if character == "\\" else character
    return parts
