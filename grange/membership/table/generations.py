"""Decides the generation of a silo that starts. Pure; `silo/new_address.py` reads the table for it.

A generation comes from the clock, so that it differs from those that no table remembers. But a clock may be set back,
or two starts may fall into one millisecond. So it is also higher than every generation in the table. The row of the
highest generation is never removed (`cleanup.py`): the generations of a table only rise, even when old rows are gone.
"""

from __future__ import annotations

from grange.errors import MembershipError
from grange.membership.model.provider import Table

MAX_GENERATION = 2**53 - 1
"""The highest generation: Redis' Lua and JSON readers hold integers exactly only up to here."""


def next_generation(table: Table, clock: int, recorded: int) -> int:
    """The least generation that is at least `clock`, above all in the table, and above `recorded`.

    `recorded` is the latest one of the endpoint whose death a storage has recorded: up to it the storage refuses every
    write. Raises MembershipError when the table leaves no higher generation.
    """
    newest = max((row.member.address.generation for row in table.rows), default=0)
    generation = max(clock, newest + 1, recorded + 1)
    if generation > MAX_GENERATION:
        raise MembershipError(
            f"no generation is left above {max(newest, recorded)}, which is far beyond any clock; set this machine's "
            f"clock, and remove the wrong row from the membership table or the wrong death from the storage"
        )
    return generation
