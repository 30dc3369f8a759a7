"""Records, holders and expectations that the storage suite is written in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Generic, TypeVar

import msgspec

from grange.errors import InconsistentStateError, StorageError
from grange.proto.ids import GrainId
from grange.storage.provider import GrainStorage, StateRecord
from grange.storage.state import PersistentState

T = TypeVar("T")

OpenStorage = Callable[[str], AbstractAsyncContextManager[GrainStorage]]
"""Opens the storage of a named service. All that one test opens must be in the same, empty database."""

ANN = GrainId("cart", "ann")
BIG = b'{"text": "' + b"x" * 1_000_000 + b'"}'


class Box(msgspec.Struct, Generic[T]):
    """A generic state."""

    held: T | None = None


class Flight(msgspec.Struct):
    """A state whose fields all have defaults."""

    number: int = 0
    name: str = "unnamed"


class JsonCodec(Generic[T]):
    """JSON of one type, as the runtime's codec would write it."""

    def __init__(self, kind: Any) -> None:
        self._kind = kind

    def encode(self, value: T) -> bytes:
        """JSON text."""
        return msgspec.json.encode(value)

    def decode(self, payload: bytes) -> T:
        """The inverse, into the type."""
        value: T = msgspec.json.decode(payload, type=self._kind)
        return value


def holder(storage: GrainStorage, grain_id: GrainId = ANN, name: str = "state") -> PersistentState[Flight]:
    """An empty in-memory holder of a record, as an activation has one."""
    return PersistentState(storage, grain_id, name, JsonCodec[Flight](Flight), Flight)


async def refused(operation: Awaitable[Any], stored: str | None, given: str | None) -> None:
    """The operation loses the race, and its error carries both etags."""
    error = await _raised(operation)
    assert isinstance(error, InconsistentStateError), error
    assert (error.stored, error.given) == (stored, given)


async def fenced(operation: Awaitable[Any]) -> None:
    """The operation is refused because its writer is dead, and says so."""
    error = await _raised(operation)
    assert isinstance(error, InconsistentStateError), error
    assert error.fenced, error
    assert "this silo was declared dead" in str(error)


async def rejected(operation: Awaitable[Any]) -> None:
    """The operation is refused as impossible, which is neither a lost race nor an outage."""
    assert type(await _raised(operation)) is StorageError


async def _raised(operation: Awaitable[Any]) -> Exception | None:
    try:
        await operation
    except Exception as error:
        return error
    return None


def json_of(record: StateRecord) -> Any:
    """The payload as a JSON value; databases may write it in another way."""
    return None if record.payload is None else msgspec.json.decode(record.payload)
