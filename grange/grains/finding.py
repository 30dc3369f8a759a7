"""Finds stored grains by key, and by indexed fields of their state. Clients, silos and grains have one each."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any, Generic, Protocol, TypedDict, TypeVar, Unpack, cast

import msgspec

from grange.errors import InvalidCall
from grange.grains.definition import Addressable
from grange.grains.ref import GrainFactory, Reference
from grange.proto.ids import GrainId, SiloAddress
from grange.proto.keys import Key
from grange.proto.queries import (
    FIND_GRAINS,
    LIST_GRAINS,
    MAX_PAGE,
    FindGrains,
    FoundGrains,
    ListedGrains,
    ListGrains,
)

G = TypeVar("G", bound=Addressable)


class ListOptions(TypedDict, total=False):
    """The options of `list_grains`."""

    prefix: str
    locate: bool
    page: int


class FindOptions(TypedDict, total=False):
    """The options of `find_grains`."""

    state: str
    order_by: str
    descending: bool
    limit: int | None
    page: int


class AskHost(Protocol):
    """Asks a silo that hosts a grain type."""

    async def __call__(self, grain_type: str, service: str, question: bytes) -> bytes:
        """The answer of its system target. Raises NoSuchGrain if no active silo hosts the type."""
        ...


class StoredGrain(Generic[G]):
    """A grain that has stored state: its reference and key, the names of its stored states, and where it is active.

    `silo` is None for a grain that is not active, and unless `locate=True` was asked for.
    """

    __slots__ = ("reference", "silo", "states")

    def __init__(self, reference: G, states: tuple[str, ...], silo: SiloAddress | None) -> None:
        self.reference = reference
        self.states = states
        self.silo = silo

    @property
    def key(self) -> Key:
        """The key of the grain."""
        return cast("Reference", self.reference).key

    def __repr__(self) -> str:
        return f"StoredGrain({self.key!r}, states={self.states!r}, silo={self.silo})"


class GrainFinder:
    """Lists and finds the stored grains of one cluster, page by page, while its caller goes on."""

    def __init__(self, grains: GrainFactory, ask: AskHost) -> None:
        self._grains = grains
        self._ask = ask

    async def list_grains(
        self, grain: type[G], *, prefix: str = "", locate: bool = False, page: int = 100
    ) -> AsyncGenerator[StoredGrain[G]]:
        """The grains of a class that have stored state, ordered by key as text: those whose key begins with `prefix`.

        A grain that is stored or cleared meanwhile may be left out or not. With `locate`, each has the silo on which it
        is active, as of its page. `page` is the number of grains that one question asks for, at most 1000.

        Raises NoSuchGrain if no silo hosts the class, StorageUnavailable, and StorageError for a store without lists.
        """
        question = ListGrains(self._grains.grain_type(grain), prefix, "", _checked(page), locate)
        while True:
            answer = await self._ask(question.type, LIST_GRAINS, msgspec.msgpack.encode(question))
            found = msgspec.msgpack.decode(answer, type=ListedGrains)
            if found.refused:
                raise InvalidCall(found.refused)
            for row in found.rows:
                reference = self._grains.from_id(grain, GrainId(question.type, row.key))
                yield StoredGrain(reference, row.states, row.silo)
            if not found.cursor:
                return
            question = msgspec.structs.replace(question, cursor=found.cursor)

    async def find_grains(
        self, grain: type[G], where: Mapping[str, Any], **options: Unpack[FindOptions]
    ) -> AsyncGenerator[G]:
        """The grains of a class whose stored state has all these values in fields that are marked `Indexed()`.

        They come by key, or by the value of `order_by`, which is an indexed field too (`descending`: the highest
        first); grains without a value in it are left out. At most `limit` are found. A change that is stored is found
        from the moment on in which `write` has returned. With `order_by`, a change between two pages may move a grain
        from one to the other.

        `state` names the state with the fields, if several states of the class have fields of these names. Raises
        InvalidCall for a field that is not indexed and for a value that does not fit it, and as `list_grains`.
        """
        left, page = options.get("limit"), _checked(options.get("page", 100))
        question = FindGrains(
            self._grains.grain_type(grain),
            msgspec.json.encode(where),
            options.get("state", ""),
            options.get("order_by", ""),
            options.get("descending", False),
            limit=page if left is None else max(1, min(page, left)),
        )
        while left is None or left > 0:
            answer = await self._ask(question.type, FIND_GRAINS, msgspec.msgpack.encode(question))
            found = msgspec.msgpack.decode(answer, type=FoundGrains)
            if found.refused:
                raise InvalidCall(found.refused)
            for key in found.keys[:left]:
                yield self._grains.from_id(grain, GrainId(question.type, key))
            left = None if left is None else left - len(found.keys)
            if not found.cursor:
                return
            question = msgspec.structs.replace(question, cursor=found.cursor)


def _checked(page: int) -> int:
    if not 1 <= page <= MAX_PAGE:
        raise InvalidCall(f"page={page!r}: 1 to {MAX_PAGE} grains")
    return page
