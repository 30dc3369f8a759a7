"""References to secrets in texts: `${file:/run/secrets/pg}`, `${env:PGPASSWORD}`, `${vault:secret/shop#key}`. Pure.

`$${` stands for the text `${` itself. A reference has no other inside it, and ends at the first `}`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import msgspec

from grange.errors import ConfigurationError

ESCAPED = "$${"
"""How a text has `${` in it that begins no reference."""

_TOKEN = re.compile(r"\$\$\{|\$\{([a-z][a-z0-9+.-]*):([^{}\x00-\x1f]+)\}|\$\{")

_FORM = "write ${file:/path}, ${env:NAME} or ${vault:path#key}; for the text '${' itself write '$${'"


class Reference(msgspec.Struct, frozen=True):
    """One reference: the name of its source, and the name of the secret there. It is no secret, and is shown."""

    source: str
    name: str

    def __str__(self) -> str:
        return f"${{{self.source}:{self.name}}}"


Parts = tuple[str | Reference, ...]
"""A text in pieces: as it is, and references."""


def has_references(value: object) -> bool:
    """Whether a text, or any text inside a list or table, has `${` in it: a reference, an escape or an error."""
    if isinstance(value, str):
        return "${" in value
    if isinstance(value, Mapping):
        return any(has_references(each) for each in cast("Mapping[str, Any]", value).values())
    if isinstance(value, list | tuple):
        return any(has_references(each) for each in cast("Sequence[Any]", value))
    return False


def parse(text: str) -> Parts:
    """The pieces of a text; escapes are replaced. Raises ConfigurationError, which shows nothing of it."""
    found: list[str | Reference] = []
    end = 0
    for token in _TOKEN.finditer(text):
        found.append(text[end : token.start()])
        if token[0] == ESCAPED:
            found.append("${")
        elif token[1]:
            found.append(Reference(token[1], token[2]))
        else:
            raise ConfigurationError(f"'${{' begins no reference to a secret; {_FORM}")
        end = token.end()
    found.append(text[end:])
    return _joined(found)


def references_in(value: object) -> Iterator[Reference]:
    """Each reference of a text, or of the texts inside a list or table. Raises ConfigurationError as `parse` does."""
    if isinstance(value, str):
        yield from (part for part in parse(value) if isinstance(part, Reference))
    elif isinstance(value, Mapping):
        for each in cast("Mapping[str, Any]", value).values():
            yield from references_in(each)
    elif isinstance(value, list | tuple):
        for each in cast("Sequence[Any]", value):
            yield from references_in(each)


def escaped(value: Any) -> Any:
    """A text, and the texts inside a list or table, so that `parse` gives back what they are now."""
    if isinstance(value, str):
        return value.replace("${", ESCAPED)
    if isinstance(value, Mapping):
        return {key: escaped(each) for key, each in cast("Mapping[str, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [escaped(each) for each in cast("Sequence[Any]", value)]
    return value


def only_references(text: str) -> bool:
    """Whether a text consists of references alone, so that all of it may be shown."""
    return "${" in text and all(isinstance(part, Reference) for part in parse(text))


def _joined(pieces: Sequence[str | Reference]) -> Parts:
    found: list[str | Reference] = []
    for piece in pieces:
        if isinstance(piece, str) and found and isinstance(found[-1], str):
            found[-1] += piece
        elif piece:
            found.append(piece)
    return tuple(found)
