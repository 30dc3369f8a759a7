"""Property: a state of any type and value reads back the same on every store, or its write is refused.

The types and values are generated (`tests/proto/generated.py`). The reader is another state object, as after a new
activation.
"""

from __future__ import annotations

import asyncio
import copy
import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple, Optional

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from grange.errors import ConfigurationError, StorageError
from grange.grains.facets import Parameter
from grange.proto.ids import GrainId
from grange.proto.values import ValueCodec
from grange.storage.memory import MemoryStorage
from grange.storage.provider import GrainStorage
from grange.storage.states.facet import PersistentStates
from grange.storage.states.state import PersistentState
from grange.storage.urls import open_storage
from tests.proto.generated import fits, misfits, same

Typed = tuple[Any, Any]
"""A type and a value: also of another type, as an author's mistake would store it."""


class _Owner(NamedTuple):
    """The activation of a state."""

    grain_id: GrainId
    activation_id: int = 1
    is_single: bool = False

    def check_turn(self) -> None:
        """All is allowed."""


class Store:
    """One store, and a new grain for each value."""

    def __init__(self, storage: GrainStorage) -> None:
        self._storage = storage
        self._states = PersistentStates({"default": storage}, ValueCodec())
        self._keys = itertools.count()

    async def check(self, kind: Any, value: Any) -> None:
        """Write one value and read it back. Raises AssertionError if it is acknowledged and changed."""
        grain_id = GrainId("generated", str(next(self._keys)))
        parameter = Parameter("s", PersistentState[Optional[kind]])  # noqa: UP045  (a value may be a union or Any)
        try:
            self._states.check("Generated", "generated", [parameter], [])
        except ConfigurationError:
            event("the type is refused")
            return
        state, reader = (self._states.make(_Owner(grain_id), parameter) for _ in range(2))
        await state.load()
        kept = copy.deepcopy(value)
        state.value = value
        refused = await refusal(state)
        event("the value is stored" if refused is None else "the value is refused")
        await reader.read()
        if refused is None:
            assert is_same(value, reader.value), f"{kind}: {value!r} reads back as {reader.value!r}"
        else:
            assert (reader.exists, reader.etag) == (False, None), f"refused, yet stored: {refused}"
            assert state.value is value
        assert same(value, kept), f"the write changed the value in memory: {kept!r} became {value!r}"

    async def check_all(self, batch: list[Typed]) -> None:
        """At the same time, so that the store sees them in batches."""
        await asyncio.gather(*(self.check(kind, value) for kind, value in batch))


async def refusal(state: PersistentState[Any]) -> StorageError | None:
    try:
        await state.write()
    except StorageError as error:
        return error
    return None


def is_same(value: Any, back: Any) -> bool:
    """`same`, but a subclass of a builtin type may come back as that type, and an int as the equal float."""
    plain = isinstance(back, str | bytes | int | float | dict | list | tuple) and not isinstance(back, bool)
    if type(value) is not type(back) and plain and isinstance(value, (type(back), int)) and not isinstance(value, bool):
        return bool(value == back)
    if isinstance(value, list | tuple) and isinstance(back, list | tuple) and type(value) is type(back):
        return len(value) == len(back) and all(map(is_same, value, back))
    if isinstance(value, dict) and type(value) is type(back):
        return all(map(is_same, value, back)) and all(map(is_same, value.values(), back.values()))
    if isinstance(value, set | frozenset) and type(value) is type(back):
        return len(value) == len(back) and all(any(is_same(one, other) for other in back) for one in value)
    fields = getattr(value, "__dataclass_fields__", None) or getattr(value, "__struct_fields__", None)
    if fields and type(value) is type(back):
        return all(is_same(getattr(value, name), getattr(back, name)) for name in fields)
    return same(value, back)


drawn = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=40)


@pytest.fixture
async def stores(tmp_path: Path, redis_url: str, postgres_url: str) -> AsyncIterator[list[Store]]:
    urls = (f"sqlite:///{tmp_path}/state.db", redis_url, postgres_url)
    async with AsyncExitStack() as stack:
        yield [Store(await stack.enter_async_context(open_storage(url, "generated"))) for url in urls]


@given(typed=fits() | misfits())
@drawn
async def test_any_state_reads_back_the_same_or_is_refused(typed: Typed) -> None:
    await Store(MemoryStorage()).check(*typed)


@given(batch=st.lists(fits() | misfits(), min_size=1, max_size=4))
@drawn
async def test_any_state_reads_back_the_same_or_is_refused_on_each_database(
    stores: list[Store], batch: list[Typed]
) -> None:
    for store in stores:
        await store.check_all(batch)
