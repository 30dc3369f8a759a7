"""`Stored`: the place of a state in the database, named by the author of a grain class."""

from __future__ import annotations

import msgspec

from grange.errors import ConfigurationError


class Stored(msgspec.Struct, frozen=True):
    """The place of a state: `Annotated[PersistentState[T], Stored("name", provider="orders")]`.

    `name` is the state's name in the database (default: the parameter's name) and must never change once data
    exists; `provider` is the name of one of the silo's storages (default: its default storage).
    """

    name: str | None = None
    provider: str | None = None

    def __post_init__(self) -> None:
        _check_text("name", self.name)
        _check_text("provider", self.provider)


def _check_text(field: str, value: object) -> None:
    if value is not None and not (isinstance(value, str) and value.strip()):
        raise ConfigurationError(f"Stored({field}=…) must be a text that is not blank, not {value!r}")
