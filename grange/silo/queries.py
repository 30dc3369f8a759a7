"""The system targets that list stored grains and find them by indexed fields. Messages: `proto/queries.py`.

Any client may ask: it may also call every grain. The state itself is shown by `states.py`, to roles that may see it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec

from grange.directory.provider import GrainDirectory
from grange.errors import GrangeError, InvalidCall, NoSuchGrain
from grange.proto.acts import Level
from grange.proto.ids import GrainId, SiloAddress
from grange.proto.queries import (
    FIND_GRAINS,
    LIST_GRAINS,
    MAX_PAGE,
    FindGrains,
    FoundGrains,
    ListedGrains,
    ListGrains,
    StoredRow,
)
from grange.runtime.activations.catalog import Catalog
from grange.runtime.system_target import SystemTargets
from grange.storage.provider import GrainStorage, Query, QueryStorage, RecordName, offered
from grange.storage.states.facet import PersistentStates, StatePlace

MOST_TEXT = 4096
"""Characters of a prefix, a cursor and a name; bytes of the values of one question."""

LAST_STATE = "\U0010ffff"
"""After every name of a state: a list that goes on after a key leaves out all states of this key."""

_LOOKUPS = 16
"""Questions to the directory at one time for one page."""


class GrainQueries:
    """The answers of one silo about the grain types that it hosts."""

    def __init__(
        self,
        address: SiloAddress,
        catalog: Catalog,
        states: PersistentStates,
        storages: Mapping[str, GrainStorage],
        directory: GrainDirectory,
    ) -> None:
        self._address = address
        self._catalog = catalog
        self._states = states
        self._storages = storages
        self._directory = directory

    def serve(self, targets: SystemTargets) -> None:
        """Offer the system targets."""
        targets.serve(LIST_GRAINS, self._answer_list, Level.NONE)
        targets.serve(FIND_GRAINS, self._answer_find, Level.NONE)

    async def stored(self, question: ListGrains) -> ListedGrains:
        """One page of the stored grains of a type. Raises InvalidCall, NoSuchGrain and the errors of the store."""
        _check(question.limit, question.prefix, question.cursor, question.type)
        places = self._places(question.type)
        pages = await asyncio.gather(*(self._page(question, *each) for each in _by_storage(places).items()))
        # A store with more rows than its page tells of no key after the last one of it.
        ends = [page[-1].key for page, is_full in pages if is_full]
        states: dict[str, list[str]] = {}
        for page, _ in pages:
            for name in page:
                if not ends or name.key <= min(ends):
                    states.setdefault(name.key, []).append(name.state)
        keys = sorted(states)
        rows = tuple(StoredRow(key, tuple(sorted(states[key]))) for key in keys[: question.limit])
        is_last = not ends and len(keys) <= question.limit
        if question.locate:
            rows = await self._located(question.type, rows)
        return ListedGrains(rows, "" if is_last or not rows else rows[-1].key)

    async def found(self, question: FindGrains) -> FoundGrains:
        """One page of the grains that match. Raises InvalidCall, NoSuchGrain and the errors of the store."""
        _check(question.limit, question.cursor, question.type, question.state, question.order_by, question.where)
        where = _decoded(question.where)
        place = self._place(question, where)
        if not where and not question.order_by:
            raise InvalidCall("where: name a field, or order_by; list_grains lists all grains")
        if question.descending and not question.order_by:
            raise InvalidCall("descending: it has no effect without order_by")
        query = Query(
            grain_type=question.type,
            state=place.name,
            where=place.form.index.wanted(where),
            order_by=place.form.index.field(question.order_by).name if question.order_by else None,
            descending=question.descending,
            after=question.cursor or None if not question.order_by else None,
            offset=_offset(question.cursor) if question.order_by else 0,
            limit=question.limit,
        )
        keys = await self._store(place.provider).find(query)
        if len(keys) < question.limit:
            return FoundGrains(tuple(keys))
        return FoundGrains(tuple(keys), str(query.offset + len(keys)) if question.order_by else keys[-1])

    async def _page(self, question: ListGrains, provider: str, states: int) -> tuple[list[RecordName], bool]:
        after = RecordName(question.cursor, LAST_STATE) if question.cursor else None
        most = question.limit * states + 1
        page = await self._store(provider).list_records(question.type, question.prefix, after, most)
        return page, len(page) == most

    async def _located(self, grain_type: str, rows: tuple[StoredRow, ...]) -> tuple[StoredRow, ...]:
        limit = asyncio.Semaphore(_LOOKUPS)

        async def located(row: StoredRow) -> StoredRow:
            grain_id = GrainId(grain_type, row.key)
            if self._catalog.find(grain_id) is not None:
                return msgspec.structs.replace(row, silo=self._address)
            async with limit:
                try:
                    entry = await self._directory.lookup(grain_id)
                except GrangeError:  # not known now, as while its range moves
                    return row
            return row if entry is None else msgspec.structs.replace(row, silo=entry.silo)

        return tuple(await asyncio.gather(*map(located, rows)))

    def _places(self, grain_type: str) -> list[StatePlace]:
        hosted = self._catalog.hosted.get(grain_type)
        if hosted is None:
            raise NoSuchGrain(f"silo {self._address} hosts no grain type {grain_type!r:.100}")
        places = self._states.places(hosted.cls)
        if not places:
            raise InvalidCall(f"grains of type {grain_type!r} have no state, so none is stored")
        return places

    def _place(self, question: FindGrains, where: Mapping[str, Any]) -> StatePlace:
        """The state whose fields are meant."""
        places = [each for each in self._places(question.type) if question.state in ("", each.name)]
        wanted = {*where, *([question.order_by] if question.order_by else [])}
        fitting = [each for each in places if wanted <= each.form.index.fields.keys()]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            raise InvalidCall(f"state: several have these fields: {', '.join(each.name for each in fitting)}; name one")
        known = [f"{each.name}: {', '.join(each.form.index.fields) or 'none'}" for each in places]
        fields = {field for each in places for field in each.form.index.fields}
        missing = ", ".join(sorted(wanted - fields))
        raise InvalidCall(
            f"{missing or 'these fields together'}: no index of a state of {question.type!r}; indexed fields by state: "
            f"{'; '.join(known) or 'no such state'}"
        )

    def _store(self, provider: str) -> QueryStorage:
        storage = self._storages[provider]
        found = offered(storage, QueryStorage)
        if found is None:
            raise InvalidCall(f"the storage {provider!r} cannot list its records (it is no QueryStorage)")
        return found

    async def _answer_list(self, question: bytes) -> bytes:
        try:
            answer = await self.stored(msgspec.msgpack.decode(question, type=ListGrains))
        except InvalidCall as error:
            answer = ListedGrains((), refused=str(error))
        return msgspec.msgpack.encode(answer)

    async def _answer_find(self, question: bytes) -> bytes:
        try:
            answer = await self.found(msgspec.msgpack.decode(question, type=FindGrains))
        except InvalidCall as error:
            answer = FoundGrains((), refused=str(error))
        return msgspec.msgpack.encode(answer)


def _by_storage(places: list[StatePlace]) -> dict[str, int]:
    """The names of the storages, each with the number of states that it keeps."""
    found: dict[str, int] = {}
    for place in places:
        found[place.provider] = found.get(place.provider, 0) + 1
    return found


def _check(limit: int, *texts: str | bytes) -> None:
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidCall(f"limit: 1 to {MAX_PAGE}, not {limit}")
    if any(len(text) > MOST_TEXT for text in texts):
        raise InvalidCall(f"a text of the question has more than {MOST_TEXT} characters")


def _decoded(where: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(where, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise InvalidCall(f"where: {error}") from None


def _offset(cursor: str) -> int:
    if not cursor:
        return 0
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 10):
        raise InvalidCall("cursor: it is not that of a page before")
    return int(cursor)
