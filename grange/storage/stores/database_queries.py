"""Claims, lists, finds and reminders of the database providers: checks, time-outs and errors around their reads."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection

from grange.proto.ids import GrainId, SiloAddress
from grange.storage.provider import Query, RecordName, StateRecord
from grange.storage.record import check_name, check_page, check_query, fenced
from grange.storage.sets import ReminderRow
from grange.storage.stores.changes import Name
from grange.storage.stores.database import DatabaseStorage


class DatabaseQueries(DatabaseStorage):
    """A `ClaimStorage`, `QueryStorage` and `ReminderStorage` too. Callers bound the time of what a provider adds."""

    @abstractmethod
    async def _claim(self, name: Name, claim: int, writer: SiloAddress | None) -> StateRecord | None:
        """Set the claim of a record that is there, and read it; None: the writer is dead."""

    @abstractmethod
    async def _list(self, grain_type: str, prefix: str, after: RecordName | None, limit: int) -> list[RecordName]:
        """See `QueryStorage.list_records`."""

    @abstractmethod
    async def _find_keys(self, query: Query) -> list[str]:
        """See `QueryStorage.find`."""

    @abstractmethod
    async def _now(self) -> int:
        """See `ReminderStorage.now`."""

    @abstractmethod
    async def _due(self, slots: Collection[int], until: int, limit: int) -> list[ReminderRow]:
        """See `ReminderStorage.reminders_due`."""

    @abstractmethod
    async def _parked(self, slots: Collection[int], limit: int) -> list[ReminderRow]:
        """See `ReminderStorage.reminders_parked`."""

    async def claim(self, grain_id: GrainId, state: str, claim: int, writer: SiloAddress | None = None) -> StateRecord:
        """See `ClaimStorage.claim`."""
        check_name(self._service, grain_id, state)
        name = grain_id.type, grain_id.key, state
        record = await self._ask(f"claim of state {state!r} of {grain_id}", self._claim(name, claim, writer))
        if record is None:
            assert writer is not None
            held = await self.read(grain_id, state)
            raise fenced(grain_id, state, writer, held.etag, held.etag)
        return record

    async def list_records(
        self, grain_type: str, prefix: str = "", after: RecordName | None = None, limit: int = 100
    ) -> list[RecordName]:
        """See `QueryStorage.list_records`."""
        check_page(self._service, grain_type, prefix, after, limit)
        return await self._ask(f"list of records of {grain_type}", self._list(grain_type, prefix, after, limit))

    async def find(self, query: Query) -> list[str]:
        """See `QueryStorage.find`."""
        check_query(self._service, query)
        return await self._ask(f"search for records of {query.grain_type}", self._find_keys(query))

    async def now(self) -> int:
        """See `ReminderStorage.now`."""
        return await self._ask("read of the store's clock", self._now())

    async def reminders_of(self, grain_id: GrainId) -> list[ReminderRow]:
        """See `ReminderStorage.reminders_of`."""
        check_name(self._service, grain_id, "")
        return await self._ask(f"read of the reminders of {grain_id}", self._reminders_of(grain_id))

    async def reminders_due(self, slots: Collection[int], until: int, limit: int) -> list[ReminderRow]:
        """See `ReminderStorage.reminders_due`."""
        return await self._ask("read of the reminders that are due", self._due(slots, until, limit)) if slots else []

    async def reminders_parked(self, slots: Collection[int], limit: int) -> list[ReminderRow]:
        """See `ReminderStorage.reminders_parked`."""
        return await self._ask("read of the parked reminders", self._parked(slots, limit)) if slots else []
