"""Stored states as JSON lines: what `grange state export` writes and `grange state import` reads."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Iterator

import msgspec

from grange.errors import ConfigurationError, InconsistentStateError
from grange.proto.ids import GrainId
from grange.storage.provider import GrainStorage, QueryStorage, RecordName

PAGE = 500
"""Names in one answer of a store."""


class StateLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One stored state. `payload` is its JSON; `etag` is for people, an import ignores it."""

    type: str
    key: str
    state: str
    payload: msgspec.Raw
    schema: int = 1
    etag: str = ""

    @property
    def grain_id(self) -> GrainId:
        """The grain."""
        return GrainId(self.type, self.key)


async def lines_of(storage: GrainStorage, grain_type: str, prefix: str = "") -> AsyncGenerator[StateLine]:
    """The stored states of a type whose key begins with `prefix`, by key and name.

    Each is read by itself: states that change together may be of different moments. Raises ConfigurationError for a
    store that lists nothing, and StorageError.
    """
    after: RecordName | None = None
    while True:
        names = await _listing(storage).list_records(grain_type, prefix, after, PAGE)
        for name in names:
            line = await _line(storage, GrainId(grain_type, name.key), name.state)
            if line is not None:
                yield line
        if len(names) < PAGE:
            return
        after = names[-1]


async def states_of(storage: GrainStorage, grain_id: GrainId) -> list[StateLine]:
    """The stored states of one grain. Raises as `lines_of` does."""
    names = await _listing(storage).list_records(grain_id.type, grain_id.key, None, PAGE)
    own = [await _line(storage, grain_id, name.state) for name in names if name.key == grain_id.key]
    return [line for line in own if line is not None]


def _listing(storage: GrainStorage) -> QueryStorage:
    if not isinstance(storage, QueryStorage):
        raise ConfigurationError("this store cannot list its records, so they cannot be shown or exported")
    return storage


async def _line(storage: GrainStorage, grain_id: GrainId, state: str) -> StateLine | None:
    record = await storage.read(grain_id, state)
    if record.payload is None:  # it was cleared since it was listed
        return None
    # One line: only space between the parts of the JSON is left out.
    payload = msgspec.Raw(msgspec.json.format(record.payload, indent=-1))
    return StateLine(grain_id.type, grain_id.key, state, payload, record.schema, record.etag or "")


def read_lines(texts: Iterable[bytes]) -> Iterator[StateLine]:
    """The states of a file. Raises ConfigurationError that names the line which is none."""
    decoder = msgspec.json.Decoder(StateLine)
    for number, text in enumerate(texts, start=1):
        if not text.strip():
            continue
        try:
            yield decoder.decode(text)
        except msgspec.DecodeError as error:
            raise ConfigurationError(f"line {number} is no exported state: {error}") from None


async def is_stored(storage: GrainStorage, line: StateLine) -> bool:
    """Whether the store has a value for this state."""
    return (await storage.read(line.grain_id, line.state)).payload is not None


async def store_line(storage: GrainStorage, line: StateLine, overwrite: bool) -> None:
    """Store one state. Raises InconsistentStateError if there is one, unless it may be overwritten; StorageError."""
    held = await storage.read(line.grain_id, line.state)
    if held.payload is not None and not overwrite:
        raise InconsistentStateError(
            f"state {line.state!r} of {line.grain_id} is stored already; --overwrite replaces it",
            stored=held.etag,
            given=None,
        )
    await storage.write(line.grain_id, line.state, bytes(line.payload), held.etag, line.schema)
