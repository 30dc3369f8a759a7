"""The stored states of a grain, for people: read from the store as they are, redacted, at most 64 KiB of each."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from grange.errors import NoSuchGrain
from grange.proto.acts import Level
from grange.proto.ids import SiloAddress
from grange.proto.inspection import STATE, ReadState, StateRow, States
from grange.runtime.activations.activation import Activation
from grange.runtime.activations.catalog import Catalog
from grange.runtime.activations.phase import Phase
from grange.runtime.system_target import SystemTargets
from grange.silo.redaction import Redaction
from grange.storage.provider import GrainStorage
from grange.storage.states.facet import places_of


class StoredStates:
    """Reads states for management. Any silo that hosts the type can; the activation may be elsewhere."""

    def __init__(
        self, address: SiloAddress, catalog: Catalog, storages: Mapping[str, GrainStorage], redaction: Redaction
    ) -> None:
        self._address = address
        self._catalog = catalog
        self._storages = storages
        self._redaction = redaction

    def serve(self, targets: SystemTargets) -> None:
        """Offer the system target."""
        targets.serve(STATE, self._answer, Level.VIEWER)

    async def read(self, question: ReadState) -> States:
        """The states. Raises NoSuchGrain if this silo does not host the type, and the errors of the store."""
        hosted = self._catalog.hosted.get(question.grain_id.type)
        if hosted is None:
            raise NoSuchGrain(f"silo {self._address} hosts no grain type {question.grain_id.type!r}")
        places = places_of(hosted.cls)
        wanted = [(name, provider) for name, provider in places if question.name in ("", name)]
        if question.name and not wanted:
            names = ", ".join(name for name, _ in places) or "none"
            raise NoSuchGrain(f"{hosted.name!r} has no state {question.name!r}; it has: {names}")
        return States(self._address, tuple([await self._row(question, *place) for place in wanted]))

    async def _row(self, question: ReadState, name: str, provider: str) -> StateRow:
        record = await self._storages[provider].read(question.grain_id, name)
        target = self._catalog.find(question.grain_id)
        loaded = isinstance(target, Activation) and target.phase is Phase.ACTIVE
        if record.payload is None:
            return StateRow(name, provider, record.etag or "", 0, "", loaded)
        shown = self._redaction.show(name, record.payload)
        return StateRow(name, provider, record.etag or "", len(record.payload), shown.json, loaded, shown.cut)

    async def _answer(self, question: bytes) -> bytes:
        return msgspec.msgpack.encode(await self.read(msgspec.msgpack.decode(question, type=ReadState)))
