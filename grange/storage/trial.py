"""Does with a store what a silo does, under a name of its own, to find out whether a silo could work there.

Called by the `try_out` of the providers, at a silo's start and by `grange doctor`. They undo or delete what it writes.
"""

from __future__ import annotations

import secrets
from collections.abc import Generator
from contextlib import contextmanager

from grange.databases.errors import setting_at_fault
from grange.databases.findings import StoreFinding, ok
from grange.errors import ConfigurationError, StorageError
from grange.proto.ids import GrainId, SiloAddress
from grange.storage.provider import GrainStorage
from grange.storage.sets import Stamp

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
