"""Messages of the questions which grains are stored: by system targets, which any silo that hosts the type answers.

Each answer is a page. Its cursor gets the next one; an empty cursor: there is none. `refused`: what is wrong with the
question, as text; the asker raises InvalidCall.
"""

from __future__ import annotations

import msgspec

from grange.proto.ids import SiloAddress

LIST_GRAINS = "grains.list"
FIND_GRAINS = "grains.find"

MAX_PAGE = 1000
"""Most grains of one page."""


class ListGrains(msgspec.Struct, frozen=True):
    """Question: the stored grains of a type whose key begins with `prefix`, ordered by key.

    `locate`: also look up which are active, and where.
    """

    type: str
    prefix: str = ""
    cursor: str = ""
    limit: int = 100
    locate: bool = False


class StoredRow(msgspec.Struct, frozen=True):
    """A stored grain: its key as text, the names of its states, and, if asked for, the silo where it is active."""

    key: str
    states: tuple[str, ...]
    silo: SiloAddress | None = None


class ListedGrains(msgspec.Struct, frozen=True):
    """Answer to `LIST_GRAINS`."""

    rows: tuple[StoredRow, ...]
    cursor: str = ""
    refused: str = ""


class FindGrains(msgspec.Struct, frozen=True):
    """Question: the grains of a type that have these values in indexed fields.

    `where` is a JSON object: the values by field. `state`: the name of the state with these fields; "": the only one
    that has them. Without `order_by` they come by key.
    """

    type: str
    where: bytes = b"{}"
    state: str = ""
    order_by: str = ""
    descending: bool = False
    cursor: str = ""
    limit: int = 100


class FoundGrains(msgspec.Struct, frozen=True):
    """Answer to `FIND_GRAINS`: the keys as text."""

    keys: tuple[str, ...]
    cursor: str = ""
    refused: str = ""
