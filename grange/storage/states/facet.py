"""Makes the `PersistentState` facets of grain constructors. Used by the silo's start-up."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, get_args, get_origin

from grange.errors import ConfigurationError, StorageError
from grange.grains.decorators import MethodOptions
from grange.grains.facets import Facet, FacetOwner, Parameter, constructor_parameters
from grange.grains.generics import check_complete
from grange.grains.interface import MethodSpec
from grange.grains.work import Work
from grange.proto.ids import GrainId
from grange.proto.message import Encoding
from grange.proto.values import ValueCodec
from grange.storage.guards.stores import Stamps
from grange.storage.guards.unreadable import UnreadableRows
from grange.storage.provider import GrainStorage, QueryStorage, SetStorage, offered
from grange.storage.record import check_name
from grange.storage.states.codec import encode_and_compare, text_of
from grange.storage.states.defaults import default_factory
from grange.storage.states.form import TypedForm
from grange.storage.states.state import PersistentState
from grange.storage.states.store import StateStore
from grange.storage.states.stored import Stored
from grange.storage.states.work import State, StateWork

log = logging.getLogger("grange.storage")

_NOT_LISTED: Mapping[str, UnreadableRows] = MappingProxyType({})
_CLAIM = (1 << 63) - 1
"""The part of an activation's number that is the claim of its states: random bits, which fit into each database."""


class PersistentStates:
    """grains.facets.FacetFactory for `PersistentState[T]`."""

    def __init__(
        self,
        storages: Mapping[str, GrainStorage],
        codec: ValueCodec,
        stamps: Stamps | None = None,
        claims: bool = True,
        unreadable: Mapping[str, UnreadableRows] = _NOT_LISTED,
    ) -> None:
        """`claims`: whether an activation claims the states that it loads, in the stores that have claims.

        `unreadable` has the lists of rows that do not fit their types, by the first name of each store.
        """
        self._storages = storages
        self._codec = codec
        self._stores = _stores(storages, stamps, claims, unreadable)
        self._kinds: dict[Any, tuple[TypedForm[Any], Callable[[], Any]]] = {}

    def check(
        self, owner: str, grain_type: str, parameters: Sequence[Parameter], methods: Sequence[MethodSpec]
    ) -> None:
        """Raise ConfigurationError for states of a grain class that cannot be kept, and for a `Stored` without effect.

        That is a state without a type, of a type that cannot be stored, with a default that cannot be stored, in a
        storage that this silo does not have, or under the name of another state.
        """
        places: dict[tuple[int, str], str] = {}
        for parameter in parameters:
            place = f"{owner}.__init__, state {parameter.name!r}"
            stored = _stored(place, parameter)
            if parameter.origin is not PersistentState:
                if _holds_state(parameter.kind):
                    raise ConfigurationError(
                        f"{place}: write PersistentState[...] alone, without | None or a container, because a silo "
                        "makes each state; PersistentState.detached(...) makes one in a unit test"
                    )
                if stored is not None:
                    raise ConfigurationError(
                        f"{owner}.__init__: Stored(...) has no effect on {parameter.name!r}: it is no PersistentState"
                    )
                continue
            name = (stored and stored.name) or parameter.name
            storage = self._storage(place, stored)
            other = places.setdefault((id(storage), name), parameter.name)
            if other != parameter.name:
                raise ConfigurationError(
                    f"{place}: state {other!r} has the same name {name!r} in the same storage, so each would overwrite "
                    f"the other; give one another name: Annotated[PersistentState[...], Stored({name + '-2'!r})]"
                )
            self._check_name(place, grain_type, name)
            self._check_type(place, parameter)
            self._check_index(place, (stored and stored.provider) or "default", get_args(parameter.kind)[0])
        for method in methods:
            if method.options.transactional:
                self._check_whole(f"{owner}.{method.name}", method.options, parameters)

    async def begin(self, facets: Sequence[Facet]) -> Work:
        """A unit of work on all states of an activation."""
        states: list[State] = [facet for facet in facets if isinstance(facet, PersistentState)]
        return await StateWork.begin(states)

    def make(self, owner: FacetOwner, parameter: Parameter) -> PersistentState[Any]:
        """A facet for one activation, checked before."""
        stored = _stored(parameter.name, parameter)
        store = self._stores[(stored and stored.provider) or "default"]
        form, default = self._of_kind(get_args(parameter.kind)[0], parameter.name)
        name = (stored and stored.name) or parameter.name
        state: PersistentState[Any] = PersistentState(store, owner.grain_id, name, form, default, owner.check_turn)
        if store.has_claims and owner.is_single:
            state.claim_with(owner.activation_id & _CLAIM)
        return state

    def _check_whole(self, place: str, options: MethodOptions, parameters: Sequence[Parameter]) -> None:
        """Raise ConfigurationError if the states of a class cannot be stored as a whole."""
        stores: dict[StateStore, str] = {}
        for parameter in parameters:
            if parameter.origin is PersistentState:
                stored = _stored(parameter.name, parameter)
                stores.setdefault(self._stores[(stored and stored.provider) or "default"], parameter.name)
        for store, name in stores.items():
            if store.sets is None:
                raise ConfigurationError(
                    f"{place} is {options}, but the storage {store.name!r} of its state {name!r} stores each record by "
                    f"itself (it is no SetStorage); use another storage, or remove the decorator"
                )
        if options.keep is not None and len(stores) > 1:
            raise ConfigurationError(
                f"{place} is {options}: its answer is stored in one step with its states, and these are in several "
                f"storages: {', '.join(sorted(store.name for store in stores))}; keep them in one"
            )

    def _storage(self, place: str, stored: Stored | None) -> GrainStorage:
        provider = (stored and stored.provider) or "default"
        storage = self._storages.get(provider)
        if storage is None:
            known = ", ".join(sorted(self._storages))
            raise ConfigurationError(
                f"{place}: it is kept in the storage {provider!r}, which this silo does not have; it has: {known}. "
                f"Add it to storages, with its URL"
            )
        return storage

    def _check_name(self, place: str, grain_type: str, name: str) -> None:
        try:
            check_name("", GrainId(grain_type, ""), name)
        except StorageError as error:
            raise ConfigurationError(f"{place}: {error}") from None

    def _check_type(self, place: str, parameter: Parameter) -> None:
        if not get_args(parameter.kind):
            raise ConfigurationError(f"{place}: it has no type; write PersistentState[YourState]")
        kind = get_args(parameter.kind)[0]
        check_complete(kind, place)
        self._codec.check(kind, place, Encoding.JSON)
        default = default_factory(kind, place)()
        try:
            _, found = encode_and_compare(self._codec.of(kind, Encoding.JSON), default)
        except (TypeError, ValueError, RecursionError) as error:
            raise ConfigurationError(
                f"{place}: the default {default!r:.80} cannot be stored ({error}), so a write before the first change "
                f"would fail; give it a default that fits its type"
            ) from error
        if found is not None:
            raise ConfigurationError(f"{place}: the default cannot be stored: {text_of(found)}")
        self._of_kind(kind, place)

    def places(self, cls: type) -> list[StatePlace]:
        """The states of a grain class that was checked."""
        places: list[StatePlace] = []
        for parameter in constructor_parameters(cls):
            if parameter.origin is PersistentState:
                stored = _stored(parameter.name, parameter)
                form, _ = self._of_kind(get_args(parameter.kind)[0], parameter.name)
                provider = (stored and stored.provider) or "default"
                places.append(StatePlace((stored and stored.name) or parameter.name, provider, form))
        return places

    def _check_index(self, place: str, provider: str, kind: Any) -> None:
        form, storage = self._of_kind(kind, place)[0], self._storages[provider]
        if form.index and (offered(storage, SetStorage) is None or offered(storage, QueryStorage) is None):
            field = next(iter(form.index.fields))
            raise ConfigurationError(
                f"{place}: Indexed() of {field!r} has no effect, because the storage {provider!r} keeps no indexes (it "
                "is no SetStorage and QueryStorage); use another storage, or remove the mark"
            )

    def _of_kind(self, kind: Any, place: str) -> tuple[TypedForm[Any], Callable[[], Any]]:
        made = self._kinds.get(kind)
        if made is None:
            form = TypedForm[Any](self._codec.of(kind, Encoding.JSON), place)
            made = self._kinds[kind] = (form, default_factory(kind, place))
        return made


class StatePlace(NamedTuple):
    """One state of a grain class: its name, the name of its storage, and how it is stored."""

    name: str
    provider: str
    form: TypedForm[Any]


def _stores(
    storages: Mapping[str, GrainStorage], stamps: Stamps | None, claims: bool, unreadable: Mapping[str, UnreadableRows]
) -> dict[str, StateStore]:
    """The stores by name; two names of one store share it."""
    made: dict[int, StateStore] = {}
    stores: dict[str, StateStore] = {}
    for name, storage in storages.items():
        next_stamp, writer = (None, None) if stamps is None else (stamps.next, stamps.writer)
        store = made.get(id(storage))
        if store is None:
            store = StateStore(storage, next_stamp, writer, claims, name, unreadable.get(name))
            made[id(storage)] = store
            if claims and not store.has_claims:
                log.warning(
                    "the storage %r has no claims: a second activation of a grain may write what it keeps", name,
                    extra={"event": "storage_without_claims"},
                )  # fmt: skip
        stores[name] = store
    return stores


def places_of(cls: type) -> list[tuple[str, str]]:
    """The persistent states of a grain class that was checked: the name and the storage of each."""
    found: list[tuple[str, str]] = []
    for parameter in constructor_parameters(cls):
        if parameter.origin is PersistentState:
            stored = _stored(parameter.name, parameter)
            found.append(((stored and stored.name) or parameter.name, (stored and stored.provider) or "default"))
    return found


def _stored(place: str, parameter: Parameter) -> Stored | None:
    """The place that the author named, or None. Raises ConfigurationError for two of them, or for the bare class."""
    if Stored in parameter.marks:
        raise ConfigurationError(f"{place}: write Stored(...) with the name or the provider, not the class")
    marks = [mark for mark in parameter.marks if isinstance(mark, Stored)]
    if len(marks) > 1:
        raise ConfigurationError(f"{place}: it has {len(marks)} Stored(...); name and provider belong into one")
    return marks[0] if marks else None


def _holds_state(kind: Any) -> bool:
    """Whether an annotation has a state inside its brackets, as `PersistentState[T] | None` does."""
    return any((get_origin(part) or part) is PersistentState or _holds_state(part) for part in get_args(kind))
