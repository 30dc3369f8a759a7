"""One store as the states of a silo use it. All states that are kept in it share this object."""

from __future__ import annotations

from collections.abc import Callable

from grange.proto.ids import GrainId, SiloAddress
from grange.storage.guards.unreadable import UnreadableRows
from grange.storage.provider import ClaimStorage, GrainStorage, SetStorage, StateRecord, offered
from grange.storage.sets import ChangeSet, Stamp, Write


class StateStore:
    """Loads and changes single states, by change sets and with claims where the store has them.

    `name` is that of the store, for errors. `stamps` makes the stamps of the silo; None: changes carry none. `writer`
    names the silo in the store. With `claims` False, or in a store without them, no activation claims the states that
    it loads. `unreadable` lists the rows that do not fit their types.
    """

    __slots__ = ("_claims", "_plain", "_stamps", "_writer", "name", "sets", "unreadable")

    def __init__(
        self,
        storage: GrainStorage,
        stamps: Callable[[], Stamp] | None = None,
        writer: SiloAddress | None = None,
        claims: bool = True,
        name: str = "default",
        unreadable: UnreadableRows | None = None,
    ) -> None:
        self.name = name
        self._plain = storage
        self._stamps = stamps
        self._writer = writer
        self.unreadable = unreadable
        self.sets = offered(storage, SetStorage)
        self._claims = offered(storage, ClaimStorage) if claims and self.sets is not None else None

    @property
    def has_claims(self) -> bool:
        """Whether an activation that loads a state becomes its only writer."""
        return self._claims is not None

    def stamp(self) -> Stamp | None:
        """The stamp of the next change."""
        return None if self._stamps is None else self._stamps()

    async def load(self, grain_id: GrainId, state: str, claim: int | None) -> StateRecord:
        """The stored record. If it exists, it can then be changed with this claim only."""
        if self._claims is None or claim is None:
            return await self._plain.read(grain_id, state)
        return await self._claims.claim(grain_id, state, claim, self._writer)

    async def read_again(self, grain_id: GrainId, state: str, claim: int | None) -> StateRecord:
        """The stored record. It is claimed only if that was not possible before, because it did not exist.

        So a later read of an older activation does not take the record from a newer one.
        """
        record = await self._plain.read(grain_id, state)
        if self._claims is None or record.etag is None or record.claim is not None:
            return record
        return await self.load(grain_id, state, claim)

    async def change(self, write: Write, stamp: Stamp | None) -> str | None:
        """Write or clear one record. Returns the etag to use next."""
        if self.sets is not None:
            return (await self.sets.commit(ChangeSet(stamp, (write,)))).etags[0]
        if write.payload is None:
            return await self._plain.clear(write.grain_id, write.state, write.etag, stamp)
        return await self._plain.write(write.grain_id, write.state, write.payload, write.etag, write.schema, stamp)
