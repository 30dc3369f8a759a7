"""The keys of state in Redis, and how values are written so that Redis orders them. Pure.

All keys begin with `grange:`; in their parts `%` and `:` are written as `%25` and `%3A`. Members of sorted sets hold
texts as they are, with NUL between them, so the order of their bytes is the order of the texts.

| key | kind | holds |
|---|---|---|
| `state:<service>:<type>:<key>:<state>` | hash | a record, see below |
| `names:<service>:<type>` | sorted set | `key NUL state` of each record that has a payload |
| `index:<service>:<type>:<state>:<field>` | sorted set | `code NUL key` of each record with a value of this field |
| `unique:<service>:<type>:<state>:<field>` | hash | the code of each unique value: the key that has it |
| `answer:<service>:<type>:<key>:<id>` | text | a kept answer: the stamp, a line break, JSON; expires by itself |
| `reminders:<service>:<type>:<key>` | hash | the name of each reminder: `etag NUL slot NUL due NUL entry` |
| `due:<service>:<slot>` | sorted set | `type NUL key NUL name` of each reminder, by due time; `+inf`: never due |
| `dead:<service>:<endpoint>` | text | the latest generation of this endpoint that was declared dead |

Fields of a record: `etag` (a counter), `payload` (JSON text; absent after a clear), `schema`, `writer` and `number`
(the stamp of its last change), `claim`, `listed` (its name is in `names`: not yet if a grange before change sets wrote
it), and `index` (MessagePack: field, code and whether unique of each entry). The index of the field with the empty name
has all records with an index.

A cleared record keeps its hash, so that its etags never come back.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import msgspec

from grange.proto.ids import GrainId
from grange.storage.record import stamp_of
from grange.storage.sets import IndexEntry, ReminderRow, Stamp
from grange.storage.stores.changes import Name
from grange.storage.stores.refusals import KeptAnswer

_SIGN = 1 << 63
_ALL = (1 << 64) - 1
_FLOAT = struct.Struct(">d")
_INTEGER = struct.Struct(">Q")

Indexed = tuple[str, str, bool]
"""An entry of the field `index` of a record: the escaped name of the field, the code of its value, unique."""

_INDEX = msgspec.msgpack.Decoder(list[Indexed])


class RedisKeys:
    """The keys of one service."""

    def __init__(self, service: str) -> None:
        self.service = escaped(service)
        self._state = f"grange:state:{self.service}:"
        self._dead = f"grange:dead:{self.service}:"

    def record(self, name: Name) -> str:
        """The hash of a record."""
        kind, key, state = name
        return f"{self._state}{escaped(kind)}:{escaped(key)}:{escaped(state)}"

    def death(self, endpoint: str) -> str:
        """The latest dead generation of an endpoint."""
        return self._dead + escaped(endpoint)

    def names(self, grain_type: str) -> str:
        """The records of a grain type, in order."""
        return f"grange:names:{self.service}:{escaped(grain_type)}"

    def index(self, grain_type: str, state: str, field: str) -> str:
        """The values of a field, in order. The empty field: the keys of all records with an index."""
        return f"grange:index:{self.service}:{escaped(grain_type)}:{escaped(state)}:{escaped(field)}"

    def unique(self, grain_type: str, state: str, field: str) -> str:
        """The unique values of a field."""
        return f"grange:unique:{self.service}:{escaped(grain_type)}:{escaped(state)}:{escaped(field)}"

    def answer(self, grain_id: GrainId, id: str) -> str:
        """A kept answer."""
        return f"grange:answer:{self.service}:{escaped(grain_id.type)}:{escaped(grain_id.key)}:{escaped(id)}"

    def reminders(self, grain_id: GrainId) -> str:
        """The reminders of a grain."""
        return f"grange:reminders:{self.service}:{escaped(grain_id.type)}:{escaped(grain_id.key)}"


def escaped(part: str) -> str:
    """A part of a key."""
    return part.replace("%", "%25").replace(":", "%3A")


def code_of(value: str | float) -> str:
    """A text for an indexed value whose bytes are ordered as the values are; numbers before texts."""
    if isinstance(value, str):
        return f"t{value}"
    (bits,) = _INTEGER.unpack(_FLOAT.pack(value + 0.0))  # minus zero becomes zero
    return f"n{bits ^ _ALL if bits & _SIGN else bits ^ _SIGN:016x}"


def indexed(entries: Sequence[IndexEntry]) -> bytes:
    """The field `index` of a record with these entries."""
    packed: list[Indexed] = [(escaped(entry.field), code_of(entry.value), entry.unique) for entry in entries]
    return msgspec.msgpack.encode([*packed, ("", "", False)])


def code_in(packed: bytes | None, field: str) -> str | None:
    """The code of a field's value in the field `index` of a record. None: it has none."""
    name = escaped(field)
    return None if packed is None else next((code for at, code, _ in _INDEX.decode(packed) if at == name), None)


def member_of(row: ReminderRow) -> str:
    """The member of a reminder among those of its slot."""
    return f"{row.grain_id.type}\0{row.grain_id.key}\0{row.name}"


def packed_reminder(row: ReminderRow) -> bytes:
    """The value of a reminder in the hash of its grain."""
    due = "" if row.due is None else row.due
    return f"{row.etag}\0{row.slot}\0{due}\0".encode() + row.entry


def reminder_of(grain_id: GrainId, name: str, packed: bytes) -> ReminderRow:
    """The inverse of `packed_reminder`."""
    etag, slot, due, entry = packed.split(b"\0", 3)
    return ReminderRow(grain_id, name, int(slot), int(due) if due else None, entry, etag.decode())


def packed_answer(result: bytes, stamp: Stamp | None) -> bytes:
    """The value of a kept answer."""
    head = "" if stamp is None else f"{stamp.writer} {stamp.number}"
    return f"{head}\n".encode() + result


def answer_of(packed: bytes) -> KeptAnswer:
    """The inverse of `packed_answer`."""
    head, _, result = packed.partition(b"\n")
    writer, _, number = head.decode().partition(" ")
    return KeptAnswer(result, stamp_of(writer, int(number)) if number else None)
