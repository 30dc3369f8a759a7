"""Many changes of state as one SQLite statement: which go together, its SQL, who learns what. No driver here.

One statement means one commit and one wait for the disk, whatever the number of changes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from grange.proto.ids import GrainId

# `json_each` makes a row of each change, the join finds what is held, and only changes that name the held etag
# are stored. A statement is atomic and holds the write lock from its start.
STORE_BATCH = """
INSERT INTO grange_state (service, grain_type, grain_key, state, payload, etag, schema)
SELECT ?1, change.grain_type, change.grain_key, change.state, change.payload,
       coalesce(held.etag, 0) + 1, coalesce(change.schema, held.schema, 1)
FROM (SELECT json_extract(value, '$[0]') AS grain_type, json_extract(value, '$[1]') AS grain_key,
             json_extract(value, '$[2]') AS state, json_extract(value, '$[3]') AS payload,
             json_extract(value, '$[4]') AS etag, json_extract(value, '$[5]') AS schema
      FROM json_each(?2)) AS change
LEFT JOIN grange_state AS held
  ON held.service = ?1 AND held.grain_type = change.grain_type
 AND held.grain_key = change.grain_key AND held.state = change.state
WHERE coalesce(held.etag, 0) = change.etag
ON CONFLICT (service, grain_type, grain_key, state) DO UPDATE
   SET payload = excluded.payload, etag = excluded.etag, schema = excluded.schema
RETURNING grain_type, grain_key, state, etag
"""
"""Parameters: the service, and the changes as `batch_rows` writes them. Returns names and new etags."""

_MOST_CHANGES = 500
_MOST_BYTES = 4 * 1024 * 1024


class Change:
    """A write, or a clear (payload None), that waits for its batch.

    `done` becomes the new etag, or None when the stored etag is not `etag` (0: no record).
    """

    __slots__ = ("done", "name", "row", "size")

    def __init__(self, grain_id: GrainId, state: str, payload: str | None, etag: int, schema: int | None) -> None:
        self.name = (grain_id.type, grain_id.key, state)
        self.row = (*self.name, payload, etag, schema)
        self.size = len(payload or "")
        self.done: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()


def next_batch(waiting: deque[Change]) -> list[Change]:
    """Take the oldest changes, each record once: a second change of one record waits for the next batch.

    Changes that nobody waits for any more (timed out, cancelled) are dropped: certainly not stored.
    """
    batch: dict[tuple[str, str, str], Change] = {}
    later: list[Change] = []
    size = 0
    while waiting and len(batch) < _MOST_CHANGES and size < _MOST_BYTES:
        change = waiting.popleft()
        if change.done.done():
            continue
        if change.name in batch:
            later.append(change)
            continue
        batch[change.name] = change
        size += change.size
    waiting.extendleft(reversed(later))
    return list(batch.values())


def batch_rows(batch: Sequence[Change]) -> str:
    """The second parameter of `STORE_BATCH`."""
    return msgspec.json.encode([change.row for change in batch]).decode()


def tell_stored(batch: Sequence[Change], stored: Iterable[Sequence[Any]]) -> None:
    """Give each change what the statement returned for it."""
    etags = {(row[0], row[1], row[2]): int(row[3]) for row in stored}
    for change in batch:
        if not change.done.done():
            change.done.set_result(etags.get(change.name))


def tell_failed(batch: Sequence[Change], error: Exception) -> None:
    """Raise the error in everybody who waits for one of the changes."""
    for change in batch:
        if not change.done.done():
            change.done.set_exception(error)
