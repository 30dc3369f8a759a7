"""The facet: the stored value as one activation sees it."""

from __future__ import annotations

import asyncio
import dataclasses
import math
import re
from typing import Any

import pytest

from grange.errors import ConfigurationError, InconsistentStateError, StorageError, StorageUnavailable
from grange.proto.equality import difference
from grange.proto.message import Encoding
from grange.proto.values import ValueCodec
from grange.storage.states.form import TypedForm
from grange.storage.states.state import PersistentState
from grange.storage.states.store import StateStore
from grange.storage.states.stored import Stored
from grange.testing.contracts.storage_samples import ANN, Flight, JsonForm
from tests.storage.faults import FaultyStorage


@pytest.fixture
def storage() -> FaultyStorage:
    return FaultyStorage()


def state_of(storage: FaultyStorage) -> PersistentState[Flight]:
    return PersistentState(StateStore(storage), ANN, "state", JsonForm[Flight](Flight), Flight)


def seed(storage: FaultyStorage, number: int) -> str:
    return storage.inner.seed(ANN, "state", b'{"number": %d}' % number)


async def stored(storage: FaultyStorage) -> int | None:
    fresh = state_of(storage)
    fresh._store = StateStore(storage.inner)
    await fresh.load()
    return fresh.value.number if fresh.exists else None


async def test_load_is_one_read_and_no_write(storage: FaultyStorage) -> None:
    """PST-01: the stored value (567) is there before the first method runs."""
    etag = seed(storage, 567)
    state = state_of(storage)
    await state.load()
    assert (state.value.number, state.exists, state.etag) == (567, True, etag)
    assert storage.calls == ["read"]


async def test_a_write_is_one_write_and_a_read_one_read(storage: FaultyStorage) -> None:
    """PST-02: a re-read picks up outside changes (42)."""
    state = state_of(storage)
    await state.load()
    for number in (1, 2):
        state.value.number = number
        await state.write()
    assert storage.calls == ["read", "write", "write"]
    seed(storage, 42)
    await state.read()
    assert state.value.number == 42
    assert storage.calls == ["read", "write", "write", "read"]


async def test_a_failed_load_raises_the_error_of_the_provider(storage: FaultyStorage) -> None:
    """PST-03."""
    error = storage.fail_before = StorageUnavailable("down")
    with pytest.raises(StorageUnavailable) as caught:
        await state_of(storage).load()
    assert caught.value is error


async def test_a_clear_leaves_a_default_without_a_read(storage: FaultyStorage) -> None:
    """PST-04: a later write stores 2 without a read."""
    seed(storage, 567)
    state = state_of(storage)
    await state.load()
    await state.clear()
    assert (state.value, state.exists) == (Flight(), False)
    state.value.number = 2
    await state.write()
    assert storage.calls == ["read", "clear", "write"]
    assert await stored(storage) == 2


async def test_every_clear_gives_a_default_of_its_own(storage: FaultyStorage) -> None:
    state = PersistentState(StateStore(storage), ANN, "list", JsonForm[list[int]](list[int]), list)
    await state.load()
    first = state.value
    first.append(1)
    await state.clear()
    assert state.value == []
    assert state.value is not first


@pytest.mark.parametrize("moment", ["fail_before", "fail_after"])
async def test_a_failed_read_keeps_the_last_good_value(storage: FaultyStorage, moment: str) -> None:
    """PST-05: until a read succeeds."""
    seed(storage, 1)
    state = state_of(storage)
    await state.load()
    seed(storage, 2)
    setattr(storage, moment, StorageUnavailable("down"))
    with pytest.raises(StorageUnavailable):
        await state.read()
    assert state.value.number == 1
    await state.read()
    assert state.value.number == 2


async def test_a_failed_write_leaves_the_attempt_in_memory(storage: FaultyStorage) -> None:
    """PST-06: the store keeps 62, memory 63, unless the grain reads again; a retry may succeed."""
    seed(storage, 62)
    state = state_of(storage)
    await state.load()
    state.value.number = 63
    storage.fail_before = StorageUnavailable("down")
    with pytest.raises(StorageUnavailable):
        await state.write()
    assert (state.value.number, await stored(storage)) == (63, 62)
    await state.write()
    assert await stored(storage) == 63


async def test_an_error_after_the_store_is_an_error_and_stored(storage: FaultyStorage) -> None:
    """PST-07: the store holds 83. The next write cannot overwrite it unnoticed: its etag is the old one."""
    seed(storage, 82)
    state = state_of(storage)
    await state.load()
    state.value.number = 83
    storage.fail_after = StorageUnavailable("answer lost")
    with pytest.raises(StorageUnavailable):
        await state.write()
    assert await stored(storage) == 83
    with pytest.raises(InconsistentStateError):
        await state.write()
    await state.read()
    await state.write()


async def test_operations_outside_a_turn_do_not_reach_the_storage(storage: FaultyStorage) -> None:
    """PST-15: while idle and while a write is pending."""
    inside = True

    def guard() -> None:
        if not inside:
            raise RuntimeError("not in a turn")

    state = PersistentState(StateStore(storage), ANN, "state", JsonForm[Flight](Flight), Flight, guard)
    await state.load()
    gate = storage.hold()
    writing = asyncio.create_task(state.write())
    await storage.started.wait()
    inside = False
    for operation in (state.read, state.write, state.clear):
        with pytest.raises(RuntimeError, match="not in a turn"):
            await operation()
    gate.set()
    await writing
    assert storage.calls == ["read", "write"]


def test_a_value_before_the_load_is_refused(storage: FaultyStorage) -> None:
    with pytest.raises(RuntimeError, match="on_activate"):
        _ = state_of(storage).value


async def test_a_value_that_json_cannot_hold_is_refused_before_the_storage(storage: FaultyStorage) -> None:
    state = PersistentState(StateStore(storage), ANN, "state", JsonForm[object](object), object)
    state.value = object()
    with pytest.raises(StorageError, match="'state' of cart/ann cannot be written"):
        await state.write()
    assert storage.calls == []


async def test_a_record_that_does_not_fit_the_type_is_named(storage: FaultyStorage) -> None:
    storage.inner.seed(ANN, "state", b'{"number": "seven"}')
    state = state_of(storage)
    with pytest.raises(StorageError, match="'state' of cart/ann does not fit its type"):
        await state.load()


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"notes": ["a", "b\0"]}, r"['notes'][1]"),
        ({"key\0": ["a"]}, r"['key\x00']"),
        ({"escaped": ["\\u0000", "a"]}, None),
    ],
)
async def test_a_text_with_a_nul_character_is_refused_by_its_place(
    storage: FaultyStorage, value: dict[str, list[str]], path: str | None
) -> None:
    form = TypedForm[dict[str, list[str]]](ValueCodec().of(dict[str, list[str]], Encoding.JSON), "a test")
    state: PersistentState[dict[str, list[str]]] = PersistentState(StateStore(storage), ANN, "state", form, dict)
    state.value = value
    if path is None:
        await state.write()
        return
    with pytest.raises(StorageError, match=f"holds a NUL character.*at `{re.escape('$' + path)}`"):
        await state.write()
    assert storage.calls == []


async def test_the_place_of_a_wrong_value_below_a_key_is_explained(storage: FaultyStorage) -> None:
    storage.inner.seed(ANN, "state", b'{"ann": "seven"}')
    form = JsonForm[dict[str, int]](dict[str, int])
    state: PersistentState[dict[str, int]] = PersistentState(StateStore(storage), ANN, "state", form, dict)
    with pytest.raises(StorageError, match=r"`\$\[\.{3}\]` \(\[\.{3}\] stands for a key of the mapping there\); was"):
        await state.load()


async def test_a_detached_state_works_on_copies() -> None:
    """A grain in a unit test that forgets to write loses its change at the next read, as in production."""
    state = PersistentState.detached(Flight(1), exists=True)
    assert (state.value.number, state.exists, state.etag) == (1, True, "1")
    state.value.number = 2
    await state.read()
    assert state.value.number == 1
    state.value.number = 3
    await state.write()
    await state.read()
    assert (state.value.number, state.etag) == (3, "2")
    await state.clear()
    assert (state.value, state.exists) == (Flight(), False)


async def test_a_new_detached_state_does_not_exist_yet() -> None:
    state = PersistentState.detached({"a": 1}, default=lambda: {"fresh": 1})
    assert (state.value, state.exists, state.etag) == ({"a": 1}, False, None)
    await state.read()
    assert state.value == {"fresh": 1}


@pytest.mark.parametrize("name", ["", " ", 5])
def test_a_stored_annotation_checks_its_names(name: str) -> None:
    with pytest.raises(ConfigurationError, match="Stored"):
        Stored(name)
    with pytest.raises(ConfigurationError, match="provider"):
        Stored("state", provider=name)


@dataclasses.dataclass
class Reading:
    celsius: float | None = 0.0
    notes: list[Any] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(eq=False)
class Identity:
    zero: float = 0.0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (Reading(math.nan), r"was not written: value.celsius would read back as None \(NoneType\), not nan \(float\)"),
        (
            Reading(1.0, [("a",)]),
            r"was not written: value.notes\[0\] would read back as \['a'\] \(list\), not \('a',\)",
        ),
    ],
)
async def test_a_value_that_would_read_back_otherwise_is_not_written(
    storage: FaultyStorage, wrong: Reading, message: str
) -> None:
    """The store keeps what it had, memory keeps the refused value, and the next write of a good value succeeds."""
    state = PersistentState(StateStore(storage), ANN, "state", JsonForm[Reading](Reading), Reading)
    await state.load()
    await state.write()
    etag, state.value = state.etag, wrong
    for _ in range(2):
        with pytest.raises(StorageError, match=message):
            await state.write()
    assert storage.calls == ["read", "write"]
    assert (state.value, state.etag, state.exists) == (wrong, etag, True)
    state.value.celsius, state.value.notes = 20.5, []
    await state.write()
    assert storage.calls == ["read", "write", "write"]


async def test_a_class_without_eq_is_compared_by_its_fields(storage: FaultyStorage) -> None:
    state = PersistentState(StateStore(storage), ANN, "state", JsonForm[Identity](Identity), Identity)
    await state.load()
    state.value = Identity(-0.0)
    await state.write()
    await state.read()
    assert math.copysign(1, state.value.zero) == -1


async def test_nan_where_a_number_is_needed_is_explained(storage: FaultyStorage) -> None:
    state = PersistentState(StateStore(storage), ANN, "state", JsonForm[list[float]](list[float]), list)
    await state.load()
    state.value = [1.0, math.inf]
    with pytest.raises(StorageError, match=r"`null` - at `\$\[1\]` \(JSON has no NaN and no infinity"):
        await state.write()
    assert storage.calls == ["read"]


async def test_a_detached_state_refuses_what_a_silo_refuses() -> None:
    """If the class of the value tells all types. The stored value stays."""
    state = PersistentState.detached(Reading(1.0), exists=True)
    state.value = Reading(math.nan)
    with pytest.raises(StorageError, match="celsius"):
        await state.write()
    await state.read()
    assert state.value == Reading(1.0)


@pytest.mark.parametrize(
    "value", [[(1, 2)], {"a": math.nan}, Identity(-0.0), (1, object), None, "text", Reading(1.5, ["a", {"b": 1}])]
)
async def test_a_detached_state_holds_values_of_any_class(value: Any) -> None:
    """Items of containers have no types in a unit test; values of other classes are copied."""
    state = PersistentState.detached(value)
    await state.write()
    await state.read()
    assert difference(value, state.value) is None
    assert state.value is not value or isinstance(value, str | tuple | None)


@dataclasses.dataclass
class Labelled:
    """Its `==` does not see the size, and its construction changes it."""

    label: str = ""
    size: int = dataclasses.field(default=0, compare=False)

    def __post_init__(self) -> None:
        self.size = {"": 0, "ab": 2}[self.label]


async def test_what_a_constructor_changes_is_found_although_it_is_equal() -> None:
    state = PersistentState.detached(Labelled("ab"))
    await state.write()
    state.value.size = 5
    with pytest.raises(StorageError, match=r"value\.size would read back as 2, not 5"):
        await state.write()


async def test_a_value_that_its_constructor_refuses_is_not_written() -> None:
    state = PersistentState.detached(Labelled("ab"))
    state.value.label = "c"
    with pytest.raises(StorageError, match="cannot be read back: KeyError: 'c'"):
        await state.write()
