"""Checks and error texts that every provider shares: names, payloads and etags of records. Pure.

The limits are those of the strictest database (Postgres), applied everywhere. So a grain that works on the memory
provider in a test works in production too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from grange.errors import ConfigurationError, InconsistentStateError, StorageError, UniqueValueError
from grange.proto.ids import GrainId, SiloAddress
from grange.storage.provider import Query, RecordName
from grange.storage.sets import SLOTS, ChangeSet, IndexEntry, Received, ReminderChange, ReminderRow, Stamp, Write

NAME_LIMIT = 2_500
"""Bytes (UTF-8) of service, grain type, key and state name together: a Postgres index row holds 2,704."""

MAX_ITEMS = 1_000
"""Most items of one change set."""

INDEXED_LIMIT = 500
"""Bytes (UTF-8) of one indexed text, for the same reason; `NAME_LIMIT` and this fit into a row together."""

INDEXED_FIELDS = 32
"""Most indexed fields of one state: each is an entry that every write replaces."""

LARGEST_NUMBER = 2**53
"""Indexed numbers and due times are compared as 64-bit floats, which hold all integers up to here."""

REMINDER_LIMIT = 64 * 1024
"""Bytes of the entry of one reminder: a silo keeps those that are due soon in memory."""

SET_LIMIT = 4
"""A set may have the bytes of this many payloads of the largest size."""

LONGEST_KEPT = 10 * 366 * 86_400
"""Most seconds that an answer is kept."""

_LARGEST_ETAG = 2**63 - 1
_NUL_ESCAPE = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


def check_service(service: str) -> str:
    """The service name, which is part of every key. Raises ConfigurationError if it is empty, too long or has NUL."""
    if not service.strip() or not _is_storable(service) or len(service.encode()) > 200:
        raise ConfigurationError(f"the service name {service!r} must be 1 to 200 bytes of text without NUL characters")
    return service


def check_name(service: str, grain_id: GrainId, state: str) -> None:
    """Raise StorageError for a record name that one of the databases cannot hold."""
    text = f"{service}{grain_id.type}{grain_id.key}{state}"
    if not _is_storable(text):
        raise StorageError(
            f"state {state!r} of {_shortened(grain_id)}: databases cannot hold NUL characters or lone "
            f"surrogates in a grain's type, key or state name; encode such keys (hex, base64) first"
        )
    if len(text) * 4 > NAME_LIMIT and len(text.encode()) > NAME_LIMIT:
        raise StorageError(
            f"state {state!r} of {_shortened(grain_id)}: the key is too long to be stored: service, type, "
            f"key and state name have {len(text.encode())} bytes together, the limit is {NAME_LIMIT}"
        )


def check_payload(grain_id: GrainId, state: str, payload: bytes, limit: int) -> str:
    """The payload as text. Raises StorageError if it is over `limit` bytes, not UTF-8, or holds a NUL character."""
    if len(payload) > limit:
        raise StorageError(
            f"state {state!r} of {grain_id} has {len(payload):,} bytes, the limit is {limit:,}; spread it "
            f"over several grains or raise payload_limit"
        )
    if holds_nul(payload):
        raise StorageError(
            f"state {state!r} of {grain_id} holds a NUL character in a text, which jsonb cannot store; "
            f"keep binary content as bytes"
        )
    try:
        return payload.decode()
    except UnicodeDecodeError as error:
        raise StorageError(f"the payload of state {state!r} of {grain_id} is not UTF-8: {error}") from error


def check_set(service: str, changes: ChangeSet, payload_limit: int) -> None:
    """Raise StorageError for a set that one of the databases cannot apply; nothing is sent then."""
    for write in changes.writes:
        check_name(service, write.grain_id, write.state)
        _check_write(write, payload_limit)
    if changes.appends:
        raise _no_room()
    if len(changes.writes) != 1 or changes.checks or changes.received or changes.reminders:
        _check_items(service, changes, payload_limit)


def _check_items(service: str, changes: ChangeSet, payload_limit: int) -> None:
    """The rest, apart because most sets are one write."""
    names = [(write.grain_id, write.state) for write in changes.writes]
    names += [(check.grain_id, check.state) for check in changes.checks]
    ids = [(item.grain_id, item.id) for item in changes.received]
    reminders = [(item.grain_id, item.name) for item in changes.reminders]
    for kind, keys in (("record", names), ("answer", ids), ("reminder", reminders)):
        _check_different(kind, keys)
        for grain_id, name in keys:
            check_name(service, grain_id, name)
    count = len(names) + len(ids) + len(reminders)
    if count > MAX_ITEMS:
        raise StorageError(f"a change set has {count} items, the limit is {MAX_ITEMS}")
    for answer in changes.received:
        _check_answer(answer, payload_limit)
    for change in changes.reminders:
        if change.row is not None:
            _check_reminder(change, change.row)
    size = sum(len(write.payload or b"") for write in changes.writes)
    size += sum(len(answer.result) for answer in changes.received)
    if size > SET_LIMIT * payload_limit:
        raise StorageError(f"a change set has {size:,} bytes, the limit is {SET_LIMIT * payload_limit:,}")


def check_query(service: str, query: Query) -> None:
    """Raise StorageError for texts and numbers that no database holds, and for a page that is not a page."""
    check_page(service, query.grain_type, "", RecordName(query.after or "", query.state), query.limit)
    if query.offset < 0:
        raise StorageError(f"the offset of a query is 0 or more, not {query.offset}")
    grain_id = GrainId(query.grain_type, "")
    for field, value in query.where.items():
        _check_indexed(grain_id, query.state, field, value)
    if query.order_by is not None:
        _check_indexed(grain_id, query.state, query.order_by, "")


def check_page(service: str, grain_type: str, prefix: str, after: RecordName | None, limit: int) -> None:
    """Raise StorageError for a prefix or a name to start from that no record can have, and for a limit below 1."""
    check_name(service, GrainId(grain_type, prefix), "")
    if after is not None:
        check_name(service, GrainId(grain_type, after.key), after.state)
    if limit < 1:
        raise StorageError(f"the limit of a list is 1 or more, not {limit}")


def _no_room() -> StorageError:
    return StorageError("this store keeps no logs and no journals yet: leave out appends and events")


def _check_different(kind: str, keys: list[tuple[GrainId, str]]) -> None:
    if len(set(keys)) != len(keys):
        double = next(key for key in keys if keys.count(key) > 1)
        raise StorageError(f"a change set names the {kind} {double[1]!r} of {_shortened(double[0])} twice")


def _check_write(write: Write, payload_limit: int) -> None:
    if write.payload is not None:
        check_payload(write.grain_id, write.state, write.payload, payload_limit)
    elif write.index:
        raise StorageError(f"a clear of state {write.state!r} of {_shortened(write.grain_id)} has index entries")
    if write.events:
        raise _no_room()
    fields = [entry.field for entry in write.index]
    if len(set(fields)) != len(fields) or len(fields) > INDEXED_FIELDS:
        raise StorageError(
            f"state {write.state!r} of {_shortened(write.grain_id)} has {len(fields)} index entries; at most "
            f"{INDEXED_FIELDS} are kept, each of another field"
        )
    for entry in write.index:
        _check_indexed(write.grain_id, write.state, entry.field, entry.value)


def _check_indexed(grain_id: GrainId, state: str, field: str, value: str | float) -> None:
    where = f"state {state!r} of {_shortened(grain_id)}: the indexed field {field[:60]!a}"
    if not field or not _is_short(field):
        raise StorageError(f"{where} must have a name of 1 to {INDEXED_LIMIT} bytes without NUL characters")
    if isinstance(value, str):
        if not _is_short(value):
            raise StorageError(f"{where} holds a text of more than {INDEXED_LIMIT} bytes or with a NUL character")
    elif abs(value) > LARGEST_NUMBER if isinstance(value, int) else not math.isfinite(value):
        raise StorageError(
            f"{where} holds a number that databases cannot compare exactly: it is infinite, not a number, or an "
            f"integer above 2^53; index it as text"
        )


def _check_answer(answer: Received, payload_limit: int) -> None:
    check_payload(answer.grain_id, f"answer {answer.id}", answer.result, payload_limit)
    if not 0 < answer.keep <= LONGEST_KEPT:
        raise StorageError(f"an answer is kept for more than 0 and at most {LONGEST_KEPT} s, not {answer.keep} s")


def _is_short(text: str) -> bool:
    return _is_storable(text) and len(text.encode()) <= INDEXED_LIMIT


def _check_reminder(change: ReminderChange, row: ReminderRow) -> None:
    check_payload(change.grain_id, f"reminder {change.name}", row.entry, REMINDER_LIMIT)
    where = f"reminder {change.name!r} of {_shortened(change.grain_id)}"
    if (row.grain_id, row.name) != (change.grain_id, change.name):
        raise StorageError(f"{where}: the new row is that of another reminder")
    if not 0 <= row.slot < SLOTS:
        raise StorageError(f"{where}: its slot {row.slot} is not one of 0 to {SLOTS - 1}")
    if row.due is not None and not 0 <= row.due < LARGEST_NUMBER:
        raise StorageError(f"{where}: its due time {row.due} is not in 1970 to 2255")
    if not row.etag or not _is_short(row.etag) or row.etag == change.held:
        raise StorageError(f"{where}: its new etag must be a short text that this reminder has not had")


def holds_nul(payload: bytes) -> bool:
    """Whether a JSON text holds a NUL character, as such or escaped."""
    return b"\0" in payload or (rb"\u0000" in payload and _NUL_ESCAPE.search(payload) is not None)


def etag_number(etag: str | None) -> int:
    """The counter behind an etag: 0 for None (no record), -1 for a text that is not a counter."""
    if etag is None:
        return 0
    if not (etag.isascii() and etag.isdigit()) or etag.startswith("0") or int(etag) > _LARGEST_ETAG:
        return -1
    return int(etag)


def etag_text(number: int) -> str | None:
    """The inverse of `etag_number`."""
    return str(number) if number else None


def stamp_of(writer: str | None, number: int | None) -> Stamp | None:
    """The stamp of a row. None: the row was written without one, or by a tool that wrote another text."""
    if writer is None or number is None:
        return None
    try:
        return Stamp(SiloAddress.parse(writer), number)
    except ConfigurationError:
        return None


def inconsistent(grain_id: GrainId, state: str, stored: str | None, given: str | None) -> InconsistentStateError:
    """The error of a lost race, with the same text from every provider."""
    return InconsistentStateError(
        f"state {state!r} of {grain_id} was changed by another writer: its stored etag is {stored}, "
        f"this write names {given}; read it again before writing",
        stored=stored,
        given=given,
    )


def fenced(
    grain_id: GrainId, state: str, writer: SiloAddress, stored: str | None, given: str | None
) -> InconsistentStateError:
    """The error for a silo that was declared dead, whether its etag matches or not."""
    return InconsistentStateError(
        f"state {state!r} of {grain_id} was not changed: this silo was declared dead ({writer}), and the store "
        f"refuses its changes; the grain runs on another silo by now",
        stored=stored,
        given=given,
        fenced=True,
    )


def inconsistent_claim(grain_id: GrainId, state: str, held: str | None) -> InconsistentStateError:
    """The error of a writer whose claim was replaced by that of a newer activation."""
    return InconsistentStateError(
        f"state {state!r} of {grain_id} was not changed: a newer activation of this grain has loaded it since, and is "
        f"its only writer now",
        stored=held,
        given=held,
    )


def fenced_set(changes: ChangeSet, writer: SiloAddress, stored: str | None) -> InconsistentStateError:
    """As `fenced`, for a set; it names the first item. `stored` is the etag of its first record."""
    items = [(item.grain_id, item.state) for item in changes.writes]
    items += [(item.grain_id, item.state) for item in changes.checks]
    items += [(item.grain_id, item.id) for item in changes.received]
    items += [(item.grain_id, item.name) for item in changes.reminders]
    grain_id, name = items[0] if items else (GrainId("set", "empty"), "")
    return fenced(grain_id, name, writer, stored, changes.writes[0].etag if changes.writes else None)


def already_received(grain_id: GrainId, id: str) -> InconsistentStateError:
    """The error for an answer that is kept already: the call ran on another activation."""
    return InconsistentStateError(f"the call {id!r} of {grain_id} has an answer already: another activation ran it")


def inconsistent_reminder(change: ReminderChange, held: str | None) -> InconsistentStateError:
    """The error of a lost race for a reminder."""
    return InconsistentStateError(
        f"reminder {change.name!r} of {change.grain_id} was changed by another writer: its stored etag is {held}, this "
        f"change names {change.held}",
        stored=held,
        given=change.held,
    )


def not_unique(grain_id: GrainId, state: str, fields: Iterable[IndexEntry]) -> UniqueValueError:
    """The error for unique values that another record has; `fields` are the candidates."""
    names = sorted({entry.field for entry in fields if entry.unique})
    field = names[0] if len(names) == 1 else ""
    return UniqueValueError(
        f"state {state!r} of {grain_id} was not stored: another {grain_id.type} has the same value of "
        f"{' or '.join(repr(name) for name in names)}, which is declared unique",
        field,
    )


def _is_storable(text: str) -> bool:
    if "\0" in text:
        return False
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shortened(grain_id: GrainId) -> str:
    key = grain_id.key if len(grain_id.key) <= 60 else f"{grain_id.key[:60]}…"
    return ascii(f"{grain_id.type}/{key}")
