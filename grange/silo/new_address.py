"""The address of a silo that starts: its endpoint with a generation that no earlier silo there had."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from grange.errors import StorageError
from grange.membership.model.provider import MembershipTable
from grange.membership.table.generations import next_generation
from grange.proto.ids import SiloAddress
from grange.storage.guards.stores import Writers, same_writer
from grange.storage.provider import FenceRecords, GrainStorage

log = logging.getLogger("grange.silo")

CLOCK_DIFFERENCE = 60_000
"""Milliseconds; the clocks of two machines that differ by more are reported."""


async def new_address(
    host: str,
    port: int,
    clock: int,
    table: MembershipTable,
    storages: Iterable[GrainStorage],
    writer: Writers = same_writer,
) -> SiloAddress:
    """Read the table and the recorded deaths, and choose the generation; `clock` is the least one.

    `writer` gives the identity under which the storages know a silo of this cluster.

    Another process may start at the same endpoint meanwhile; the join then fails for one of them. Raises
    MembershipUnavailable when the table cannot be reached.
    """
    silo = SiloAddress(host, port, 0)
    recorded = [await _fenced_generation(storage, writer(silo).endpoint) for storage in storages]
    found = await table.read()
    generation = next_generation(found, clock, max(recorded, default=0))
    if generation > clock + CLOCK_DIFFERENCE:
        log.warning(
            "silo %s takes the generation %d, although its clock gives %d: an earlier start had a higher one; check "
            "whether the clock of this machine or of another one is wrong",
            silo.endpoint,
            generation,
            clock,
            extra={"event": "generation_ahead_of_clock"},
        )
    return SiloAddress(host, port, generation)


async def _fenced_generation(storage: GrainStorage, endpoint: str) -> int:
    """The latest death at this endpoint that the storage has recorded; 0 if it cannot tell.

    A storage that does not answer must not keep a silo from its start. If it has recorded this silo's generation as
    dead, it refuses the first write, and the silo ends with that reason; the next start asks again.
    """
    if not isinstance(storage, FenceRecords):
        return 0
    try:
        return await storage.fenced_generation(endpoint)
    except StorageError as error:
        log.warning("a storage does not answer which silos at %s are dead: %s", endpoint, error)
        return 0
