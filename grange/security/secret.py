"""A secret value. Pure. It shows itself nowhere: `repr`, `str`, a format and JSON have `***` in its place."""

from __future__ import annotations

import hmac
from typing import Any, NoReturn, Self, final

HIDDEN = "***"
"""In the place of a secret."""


@final
class Secret:
    """A password, a token or a URL with one of them. Only `reveal` gives the text.

    It is no text, so code that forgets `reveal` is a type error and not a leak. Two are equal if their texts are. It
    cannot be pickled. An encoder of JSON refuses it, or writes `***` if it turns unknown objects into texts.
    """

    __slots__ = ("__text",)

    def __init__(self, text: str) -> None:
        self.__text = text

    def reveal(self) -> str:
        """The text. Pass it to what needs it, and keep it nowhere."""
        return self.__text

    def __str__(self) -> str:
        return HIDDEN

    def __repr__(self) -> str:
        return f"Secret({HIDDEN})"

    def __format__(self, spec: str) -> str:
        return format(HIDDEN, spec)

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return []

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(_bytes(self), _bytes(other))

    def __hash__(self) -> int:
        return hash(self.__text)

    def __bool__(self) -> bool:
        return bool(self.__text)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret cannot be pickled")


def _bytes(secret: Secret) -> bytes:
    return secret.reveal().encode("utf-8", "surrogatepass")
