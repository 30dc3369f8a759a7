"""Grain keys and their canonical text.

A class declares its kind of key once (`str`, `int`, `UUID`, or a tuple of these), so the text needs no type tag: `7`,
`ann`, `6f1e…-…`. The text of a tuple is its parts joined by `/`, with `/` and `\\` in the parts escaped by `\\`.
"""

from __future__ import annotations

from typing import Any, cast, get_args, get_origin
from uuid import UUID

from grange.errors import ConfigurationError

Key = str | int | UUID | tuple[str | int | UUID, ...]
"""The values that may be a grain's key."""

KeyKind = type[str] | type[int] | type[UUID] | tuple[type, ...]
"""The kind of key of one grain class; a tuple of kinds for a compound key."""

MAX_KEY_LENGTH = 4096
"""Most characters of canonical text; every message, directory entry and row contains the key."""

_MOST_BITS = int(MAX_KEY_LENGTH * 3.33)
"""Bits of a whole number above which its text is certainly too long; Python limits the time to write it."""

_SIMPLE: tuple[type, ...] = (str, int, UUID)


def key_kind(annotation: object, place: str = "") -> KeyKind:
    """The kind of key of an annotation: `str`, `int`, `UUID`, `tuple[str, int]` or `(str, int)`.

    `place` begins the message of the ConfigurationError for any other annotation.
    """
    if isinstance(annotation, type) and annotation in _SIMPLE:
        return annotation
    is_tuple = isinstance(annotation, tuple) or get_origin(annotation) is tuple
    parts = cast("tuple[type, ...]", annotation if isinstance(annotation, tuple) else get_args(annotation))
    if (
        is_tuple
        and len(parts) >= 2
        and all(isinstance(cast("object", part), type) and part in _SIMPLE for part in parts)
    ):
        return tuple(parts)
    prefix = f"{place}: " if place else ""
    raise ConfigurationError(
        f"{prefix}a grain key is str, int, UUID or a tuple of at least two of these, not {annotation!r}"
    )


def encode_key(kind: KeyKind, key: object) -> str:
    """The canonical text of a key. A value of a subclass, such as a StrEnum or IntEnum, counts as its plain value.

    Raises TypeError for a wrong kind, ValueError for a blank key or part, one that is too long, or one that the stores
    cannot write.
    """
    text: str
    if kind is str and type(key) is str:
        text = key
        _check_part(kind, text, "a string key")
    elif isinstance(kind, tuple):
        text = _encode_compound(kind, key)
    elif _is_of_kind(kind, key):
        text = _plain_text(kind, key)
        _check_part(kind, text, "a string key")
    else:
        raise TypeError(f"the key must be {_class_name(kind)}, not {_class_name(type(key))}: {_shown(key)}")
    _check(text)
    return text


def decode_key(kind: KeyKind, text: str) -> Key:
    """The inverse of `encode_key`. Raises ValueError if the text is not a key of this kind."""
    _check(text)
    if not isinstance(kind, tuple):
        return _decode_simple(kind, text, "a string key")
    parts = _split(text)
    if len(parts) != len(kind):
        raise ValueError(f"the key {text!r} has {len(parts)} parts, expected {len(kind)}")
    key = tuple(_decode_simple(*each, _part_name(at)) for at, each in enumerate(zip(kind, parts, strict=True)))
    if (canonical := _encode_compound(kind, key)) != text:
        raise ValueError(f"the key {text!r} is not in canonical form; expected {canonical!r}")
    return key


def kind_name(kind: KeyKind) -> str:
    """The name of a kind for messages: `int`, `tuple[str, int]`."""
    if isinstance(kind, tuple):
        return f"tuple[{', '.join(part.__name__ for part in kind)}]"
    return kind.__name__


def _check(text: str) -> None:
    """Raise ValueError unless the text could be a key: not too long, and Unicode that every store can write."""
    if len(text) > MAX_KEY_LENGTH:
        raise ValueError(f"the key has {len(text)} characters, the limit is {MAX_KEY_LENGTH}")
    if "\0" in text:
        raise ValueError(f"the key contains the character NUL, which Postgres cannot write: {text!r:.80}")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"the key is not valid Unicode at character {error.start}: {text!r:.80}") from None


def _check_part(kind: KeyKind, text: str, name: str) -> None:
    if kind is str and (not text or text.isspace()):
        raise ValueError(f"{name} must not be empty or blank")


def _is_of_kind(kind: type, value: object) -> bool:
    """Whether a value is of the kind or a subclass; a bool in place of a number is a mistake."""
    return type(value) is kind or (isinstance(value, kind) and not isinstance(value, bool))


def _plain_text(kind: type, value: Any) -> str:
    """The text of a value as the plain kind: a subclass may print something else."""
    if kind is str:
        return str.__str__(value)
    if kind is UUID:
        return str(value if type(value) is UUID else UUID(int=value.int))
    if value.bit_length() > _MOST_BITS:
        raise ValueError(f"the key is a number of {value.bit_length()} bits, the limit is {MAX_KEY_LENGTH} characters")
    return int.__repr__(value)


def _class_name(cls: type) -> str:
    """The name of a class, with its module if it is not builtin: two classes may share the name `UUID`."""
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def _shown(value: object) -> str:
    """The value for a message. It is not a key, so its `__repr__` may fail: that of an int over 4,300 digits does."""
    try:
        return f"{value!r:.80}"
    except Exception as error:
        return f"<no text: {type(error).__name__}>"


def _decode_simple(kind: type, text: str, name: str) -> str | int | UUID:
    _check_part(kind, text, name)
    if kind is str:
        return text
    value: int | UUID = int(text) if kind is int else UUID(text)
    if str(value) != text:
        raise ValueError(f"the key {text!r} is not in canonical form; expected {str(value)!r}")
    return value


def _encode_compound(kind: tuple[type, ...], key: object) -> str:
    parts = _parts_of(key)
    if len(parts) != len(kind) or not all(map(_is_of_kind, kind, parts)):
        given = f"({', '.join(_class_name(type(part)) for part in parts)})" if parts else _class_name(type(key))
        raise TypeError(f"the key must be {kind_name(kind)}, not {given}: {_shown(key)}")
    texts = list(map(_plain_text, kind, parts))
    for position, text in enumerate(texts):
        if not text or text.isspace():
            raise ValueError(f"{_part_name(position)} must not be empty or blank")
    return "/".join([text.replace("\\", "\\\\").replace("/", "\\/") for text in texts])


def _parts_of(key: object) -> tuple[object, ...]:
    return cast("tuple[object, ...]", key) if isinstance(key, tuple) else ()


def _part_name(position: int) -> str:
    return f"part {position + 1} of the key"


def _split(text: str) -> list[str]:
    parts = [""]
    characters = iter(text)
    for character in characters:
        if character == "/":
            parts.append("")
        else:
            parts[-1] += next(characters, "") if character == "\\" else character
    return parts
