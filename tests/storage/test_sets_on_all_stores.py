"""Property: random sets, claims and deaths end the same on every store, and leave the same behind.

The memory store is the model. Each example has a grain type and silos of its own, so examples share one database.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Literal, cast

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from grange.errors import GrangeError
from grange.proto.ids import GrainId, SiloAddress
from grange.storage.memory import MemoryStorage
from grange.storage.options import StorageOptions
from grange.storage.provider import Query
from grange.storage.sets import (
    SLOTS,
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
from grange.storage.urls import open_storage
from grange.testing.contracts.set_samples import FullStorage

Etag = Literal["held", "none", "old"]
Place = tuple[int, str]
"""The number of a grain, and the name of a state, an answer or a reminder."""

SLOW = StorageOptions(operation_timeout=30.0)
"""The machine of the test may be busy: a time-out would be an outcome that the model does not have."""

KEYS = ("a", "b:%", "é")
STATES = ("s", "t")
SLOTS_OF_ALL = range(SLOTS)


class AWrite(msgspec.Struct, frozen=True):
    """A write or clear."""

    place: Place
    etag: Etag
    payload: bytes | None
    claim: int | None
    index: tuple[IndexEntry, ...]


class ACheck(msgspec.Struct, frozen=True):
    """A check of a record."""

    place: Place
    etag: Etag
    claim: int | None


class AReminder(msgspec.Struct, frozen=True):
    """A change or removal of a reminder."""

    place: Place
    etag: Etag
    is_removed: bool
    due: int | None


class ASet(msgspec.Struct, frozen=True):
    """A change set. `writer` None: of a tool."""

    writer: int | None
    writes: list[AWrite]
    checks: list[ACheck]
    answers: list[Place]
    reminders: list[AReminder]


class AClaim(msgspec.Struct, frozen=True):
    """A claim of a record."""

    place: Place
    claim: int
    writer: int | None


class Again(msgspec.Struct, frozen=True):
    """The last set is sent again."""


class ADeath(msgspec.Struct, frozen=True):
    """A silo is declared dead."""

    writer: int


Step = ASet | AClaim | Again | ADeath

places = st.tuples(st.integers(0, len(KEYS) - 1), st.sampled_from(STATES))
etags: st.SearchStrategy[Etag] = st.sampled_from(["held", "held", "held", "none", "old"])
claims = st.sampled_from([None, None, 1, 2])
silos = st.sampled_from([None, 0, 0, 1])
entries = st.one_of(
    st.builds(IndexEntry, st.just("mail"), st.sampled_from(["x", "y", 1]), st.just(True)),
    st.builds(IndexEntry, st.just("size"), st.sampled_from([-1, 0, -0.0, 2.5, "2"])),
    st.builds(IndexEntry, st.just("city"), st.sampled_from(["Rome", "Oslo"])),
)
indexes = st.lists(entries, max_size=3, unique_by=lambda entry: entry.field).map(tuple)
a_write = st.builds(AWrite, places, etags, st.sampled_from([None, b"1", b"2"]), claims, indexes).map(
    lambda drawn: msgspec.structs.replace(drawn, index=()) if drawn.payload is None else drawn
)
a_set = st.builds(
    ASet,
    silos,
    st.lists(a_write, max_size=3, unique_by=lambda item: item.place),
    st.lists(st.builds(ACheck, places, etags, claims), max_size=1),
    st.lists(places, max_size=1),
    st.lists(
        st.builds(AReminder, places, etags, st.booleans(), st.sampled_from([None, 1, 5, 5, 9])),
        max_size=2,
        unique_by=lambda item: item.place,
    ),
)
steps: st.SearchStrategy[list[Step]] = st.lists(
    st.one_of(
        a_set,
        a_set,
        a_set,
        st.builds(Again),
        st.builds(AClaim, places, st.sampled_from([1, 2]), silos),
        st.builds(ADeath, st.just(1)),
    ),
    min_size=1,
    max_size=10,
)


class Example:
    """One run of steps on the model and on the stores."""

    def __init__(self, model: FullStorage, stores: list[FullStorage]) -> None:
        name = secrets.token_hex(8)
        self._grains = [GrainId(name, key) for key in KEYS]
        self._silos = [SiloAddress(name, port, 5) for port in (1, 2)]
        self._model = model
        self._stores = stores
        self._numbers = itertools.count(1)
        self._last = ChangeSet(None)

    async def play(self, step: Step) -> None:
        """Do the step everywhere, and compare its outcome and what it leaves."""
        if isinstance(step, ASet):
            self._last = await self._resolved(step)
        expected = await outcome(self._done(step, self._model))
        left = await self._contents(self._model)
        for store in self._stores:
            assert await outcome(self._done(step, store)) == expected, f"{type(store).__name__}: {step}"
            assert await self._contents(store) == left, f"{type(store).__name__}: {step}"

    async def _done(self, step: Step, storage: FullStorage) -> object:
        if isinstance(step, ADeath):
            return await storage.fence([self._silos[step.writer]])
        if isinstance(step, AClaim):
            return await storage.claim(*self._record(step.place), step.claim, self._silo(step.writer))
        return await storage.commit(self._last)

    async def _resolved(self, step: ASet) -> ChangeSet:
        """The set with the etags that the model holds now."""
        silo, number = self._silo(step.writer), next(self._numbers)
        return ChangeSet(
            None if silo is None else Stamp(silo, number),
            tuple([await self._write(each) for each in step.writes]),
            tuple([Check(*self._record(each.place), await self._etag(each), each.claim) for each in step.checks]),
            tuple(Received(*self._record(place), f"{number}".encode(), 600) for place in step.answers),
            tuple([await self._reminder(each, number) for each in step.reminders]),
        )

    async def _write(self, each: AWrite) -> Write:
        etag = await self._etag(each)
        return Write(*self._record(each.place), each.payload, etag, claim=each.claim, index=each.index)

    async def _etag(self, item: AWrite | ACheck) -> str | None:
        held = (await self._model.read(*self._record(item.place))).etag
        return {"held": held, "none": None, "old": "7"}[item.etag]

    async def _reminder(self, each: AReminder, number: int) -> ReminderChange:
        grain, name = self._record(each.place)
        rows = [row.etag for row in await self._model.reminders_of(grain) if row.name == name]
        held = {"held": rows[0] if rows else None, "none": None, "old": "old"}[each.etag]
        row = ReminderRow(grain, name, slot_of(grain), each.due, b"{}", f"etag-{number}-{name}")
        return ReminderChange(grain, name, held, None if each.is_removed else row)

    def _record(self, place: Place) -> tuple[GrainId, str]:
        return self._grains[place[0]], place[1]

    def _silo(self, number: int | None) -> SiloAddress | None:
        return None if number is None else self._silos[number]

    async def _contents(self, storage: FullStorage) -> list[object]:
        kind = self._grains[0].type
        due = await storage.reminders_due(SLOTS_OF_ALL, 7, 10_000)
        parked = await storage.reminders_parked(SLOTS_OF_ALL, 10_000)
        return [
            [await storage.read(grain, state) for grain in self._grains for state in STATES],
            [await storage.received(grain, id) for grain in self._grains for id in STATES],
            [await storage.reminders_of(grain) for grain in self._grains],
            [row for row in (*due, *parked) if row.grain_id.type == kind],
            await storage.list_records(kind),
            [await storage.find(query) for query in queries(kind)],
        ]


def queries(kind: str) -> Iterator[Query]:
    for state in STATES:
        yield Query(grain_type=kind, state=state)
        yield Query(grain_type=kind, state=state, where={"mail": "x"})
        yield Query(grain_type=kind, state=state, where={"size": 0, "city": "Rome"})
        for order in ("mail", "size"):
            yield Query(grain_type=kind, state=state, order_by=order, descending=True, limit=2)
        yield Query(grain_type=kind, state=state, where={"city": "Oslo"}, order_by="size", offset=1)


async def outcome(operation: Awaitable[object]) -> object:
    """What it returns, or the words of its error."""
    try:
        return await operation
    except GrangeError as error:
        return type(error), str(error), vars(error)


@pytest.fixture
async def stores(tmp_path: Path, redis_url: str, postgres_url: str) -> AsyncIterator[list[FullStorage]]:
    urls = (f"sqlite:///{tmp_path}/state.db", redis_url, postgres_url)
    async with AsyncExitStack() as stack:
        opened: list[Any] = [await stack.enter_async_context(open_storage(url, "svc", SLOW)) for url in urls]
        yield cast("list[FullStorage]", opened)


@given(drawn=steps)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=15)
async def test_random_sets_end_the_same_on_every_store(stores: list[FullStorage], drawn: list[Step]) -> None:
    example = Example(MemoryStorage("svc"), stores)
    for step in drawn:
        await example.play(step)
