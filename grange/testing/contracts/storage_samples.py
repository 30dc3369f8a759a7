"""Sample records, holders and expectations of the storage suite."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Generic, TypeVar

import msgspec

from grange.errors import InconsistentStateError, StorageError
from grange.proto.ids import GrainId
from grange.storage.provider import GrainStorage, StateRecord
from grange.storage.states.form import PlainForm
from grange.storage.states.state import PersistentState
from grange.storage.states.store import StateStore

T = TypeVar("T")

OpenStorage = Callable[[str], AbstractAsyncContextManager[GrainStorage]]
"""Opens the storage of a named service. All that one test opens must be in one database, empty at first."""

ANN = GrainId("cart", "ann")
BIG = b'{"text": "' + b"x" * 1_000_000 + b'"}'


class Box(msgspec.Struct, Generic[T]):
    """A generic state."""

    held: T | None = None


class Flight(msgspec.Struct):
    """A state whose fields all have defaults."""

    number: int = 0
    name: str = "unnamed"


class _Json(Generic[T]):
    def __init__(self, kind: Any) -> None:
        self._kind = kind

    def encode(self, value: T) -> bytes:
        return msgspec.json.encode(value)

    def decode(self, payload: bytes) -> T:
        value: T = msgspec.json.decode(payload, type=self._kind)
        return value


class JsonForm(PlainForm[T]):
    """Stores values of one type as JSON, as the runtime does."""

    def __init__(self, kind: Any) -> None:
        super().__init__(_Json(kind))


def holder(storage: GrainStorage, grain_id: GrainId = ANN, name: str = "state") -> PersistentState[Flight]:
    """An empty in-memory holder of a record, as in an activation."""
    return PersistentState(StateStore(storage), grain_id, name, JsonForm[Flight](Flight), Flight)


async def refused(operation: Awaitable[Any], stored: str | None, given: str | None) -> None:
    """Expect that the operation fails for its etag, and that the error carries both etags."""
    error = await _raised(operation)
    assert isinstance(error, InconsistentStateError), error
    assert (error.stored, error.given) == (stored, given)


async def fenced(operation: Awaitable[Any]) -> None:
    """Expect that the operation is refused with the reason that its writer is dead."""
    error = await _raised(operation)
    assert isinstance(error, InconsistentStateError), error
    assert error.fenced, error
    assert "this silo was declared dead" in str(error)


async def rejected(operation: Awaitable[Any]) -> None:
    """Expect a refusal as invalid: neither for the etag nor for an outage."""
    assert type(await _raised(operation)) is StorageError


async def _raised(operation: Awaitable[Any]) -> Exception | None:
    try:
        await operation
    except Exception as error:
        return error
    return None


def json_of(record: StateRecord) -> Any:
    """The payload as a JSON value; a database may format the text differently."""
    return None if record.payload is None else msgspec.json.decode(record.payload)
