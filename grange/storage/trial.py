"""Does with a store what a silo does, under a name of its own, to find out whether a silo could work there.

Called by the `try_out` of the providers, at a silo's start and by `grange doctor`. They undo or delete what it writes.
"""

from __future__ import annotations

import secrets
from collections.abc import Generator
from contextlib import contextmanager
from typing import Protocol

from grange.databases.errors import setting_at_fault
from grange.databases.findings import StoreFinding, ok
from grange.errors import ConfigurationError, StorageError
from grange.proto.ids import GrainId, SiloAddress
from grange.storage.provider import ClaimStorage, GrainStorage, SetStorage
from grange.storage.sets import (
    ChangeSet,
    Check,
    IndexEntry,
    Received,
    ReminderChange,
    ReminderRow,
    Stamp,
    Write,
    slot_of,
)

STATE = "trial"

_FIRST = b'{"written": 1}'
_SECOND = b'{"written": 2}'


def trial_grain() -> tuple[GrainId, SiloAddress]:
    """A grain and a silo that no application has."""
    name = f"trial-{secrets.token_hex(8)}"
    return GrainId("grange.trial", name), SiloAddress(name, 1, 1)


async def try_storage(storage: GrainStorage, grain: GrainId, writer: SiloAddress) -> list[StoreFinding]:
    """Write, read, write again, clear, and record a death.

    Raises ConfigurationError when a setting is wrong, and StorageError.
    """
    with settings_at_start():
        etag = await storage.write(grain, STATE, _FIRST, None, stamp=Stamp(writer, 1))
        held = await storage.read(grain, STATE)
        if held.etag != etag or held.payload is None:
            raise StorageError("the store does not show a record that was written a moment ago")
        etag = await storage.write(grain, STATE, _SECOND, etag, stamp=Stamp(writer, 2))
        await storage.clear(grain, STATE, etag, stamp=Stamp(writer, 3))
        await storage.fence([writer])
    return [ok("trial of storage", "a silo can write, read, clear, and record a death")]


class ClaimedSets(SetStorage, ClaimStorage, Protocol):
    """A storage of change sets and claims."""


async def try_sets(storage: ClaimedSets, grain: GrainId, writer: SiloAddress) -> None:
    """Commit a set with every kind of item, claim its record, and take all of it back. Raises as `try_storage`."""
    row = ReminderRow(grain, STATE, slot_of(grain), None, b"{}", "first")
    index = IndexEntry("field", STATE, unique=True)
    with settings_at_start():
        done = await storage.commit(
            ChangeSet(
                Stamp(writer, 4),
                (Write(grain, "indexed", _FIRST, None, index=(index,)),),
                (Check(grain, "absent", None),),
                (Received(grain, STATE, b"{}", 1.0),),
                (ReminderChange(grain, STATE, None, row),),
            )
        )
        await storage.claim(grain, "indexed", 1, writer)
        end = ReminderChange(grain, STATE, row.etag, None)
        await storage.commit(ChangeSet(None, (Write(grain, "indexed", None, done.etags[0]),), reminders=(end,)))


@contextmanager
def settings_at_start() -> Generator[None]:
    """Turn an error that a wrong setting causes into a ConfigurationError: nothing has worked yet."""
    try:
        yield
    except StorageError as error:
        fault = setting_at_fault(error)
        if fault is not None:
            raise ConfigurationError(str(error)) from error
        raise
