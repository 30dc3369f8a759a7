"""Makes the `PersistentState` facets of grain constructors. Used by the silo's start-up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, get_args

from grange.errors import ConfigurationError
from grange.grains.facets import Parameter
from grange.proto.ids import GrainId
from grange.proto.message import Encoding
from grange.proto.values import TypedCodec, ValueCodec
from grange.storage.defaults import default_factory
from grange.storage.provider import GrainStorage, Stamp
from grange.storage.state import PersistentState, Stored


class PersistentStates:
    """grains.facets.FacetFactory for `PersistentState[T]`."""

    def __init__(
        self, storages: Mapping[str, GrainStorage], codec: ValueCodec, stamps: Callable[[], Stamp] | None = None
    ) -> None:
        self._storages = storages
        self._codec = codec
        self._stamps = stamps
        self._kinds: dict[Any, tuple[TypedCodec, Callable[[], Any]]] = {}

    def check(self, owner: str, parameter: Parameter) -> None:
        """Raise ConfigurationError for a state without a type, or of a type that cannot be stored."""
        place = f"{owner}.__init__, state {parameter.name!r}"
        if not get_args(parameter.kind):
            raise ConfigurationError(f"{place}: it has no type; write PersistentState[YourState]")
        self._codec.check(get_args(parameter.kind)[0], place, Encoding.JSON)
        default_factory(get_args(parameter.kind)[0], place)

    def make(self, grain_id: GrainId, parameter: Parameter, guard: Callable[[], None]) -> PersistentState[Any]:
        """A facet for one activation. Raises ConfigurationError for a storage that this silo does not have."""
        stored = next((mark for mark in parameter.marks if isinstance(mark, Stored)), Stored())
        provider = stored.provider or "default"
        storage = self._storages.get(provider)
        if storage is None:
            known = ", ".join(sorted(self._storages))
            raise ConfigurationError(
                f"{grain_id.type!r} keeps its state {parameter.name!r} in the storage {provider!r}, "
                f"which this silo does not have; it has: {known}. Add it to storages="
            )
        codec, default = self._of_kind(get_args(parameter.kind)[0])
        state = PersistentState(storage, grain_id, stored.name or parameter.name, codec, default, guard)
        return state.stamped_by(self._stamps)

    def _of_kind(self, kind: Any) -> tuple[TypedCodec, Callable[[], Any]]:
        made = self._kinds.get(kind)
        if made is None:
            made = self._kinds[kind] = (self._codec.of(kind, Encoding.JSON), default_factory(kind, str(kind)))
        return made
