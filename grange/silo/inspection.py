"""The system targets that show one silo in detail: its figures and activations. Messages: `proto/inspection.py`."""

from __future__ import annotations

import asyncio
from itertools import islice

import msgspec

from grange.directory.cluster import ClusterDirectory
from grange.errors import GrangeError, Overloaded
from grange.proto.acts import Level
from grange.proto.ids import GrainId, SiloAddress
from grange.proto.inspection import DETAIL, FIGURES, FIND, ActivationDetail, FindActivations, FoundActivations
from grange.runtime.activations.activation import Activation
from grange.runtime.activations.catalog import Catalog
from grange.runtime.system_target import SystemTargets
from grange.silo.activation_detail import AwaitedBy, detail_of
from grange.silo.figures import Figures
from grange.silo.search import Search

SLICE = 1000
"""Activations that are looked at before the event loop runs other tasks: well under 2 ms."""

MOST_LOOKED_AT = 200_000
"""Activations that one search looks at; `FoundActivations.cut` tells that there are more."""

MOST_SECONDS = 0.5
"""Seconds that one search takes."""


class Inspection:
    """The answers of one silo, on its silo port and on its gateway."""

    def __init__(
        self,
        address: SiloAddress,
        figures: Figures,
        catalog: Catalog,
        directory: ClusterDirectory,
        awaited_by: AwaitedBy,
    ) -> None:
        self.figures = figures
        self._address = address
        self._catalog = catalog
        self._directory = directory
        self._awaited_by = awaited_by
        self._loop = asyncio.get_running_loop()
        self._searches = 0

    def serve(self, targets: SystemTargets) -> None:
        """Offer the system targets."""
        targets.serve(FIGURES, self._answer_figures, Level.VIEWER)
        targets.serve(FIND, self._answer_find, Level.VIEWER)
        targets.serve(DETAIL, self._answer_detail, Level.VIEWER)

    async def find(self, question: FindActivations) -> FoundActivations:
        """Search the activations of this silo in slices. A search that a newer one replaces raises Overloaded.

        Raises InvalidCall, with the name of the filter first, for a question that is not well formed.
        """
        began = self._loop.time()
        search = Search(question, began)
        self._searches = number = self._searches + 1
        activations = self._catalog.activations()
        cut = False
        while not cut and (some := list(islice(activations, min(SLICE, MOST_LOOKED_AT - search.looked_at)))):
            search.look(some)
            await asyncio.sleep(0)
            if number != self._searches:
                raise Overloaded(f"a newer search of silo {self._address} has replaced this one", 1.0)
            is_over = search.looked_at >= MOST_LOOKED_AT or self._loop.time() - began >= MOST_SECONDS
            cut = is_over and next(activations, None) is not None
        total = sum(self._catalog.counts().values())
        rows, cursor = search.rows()
        return FoundActivations(self._address, rows, search.matches, search.looked_at, total, cut, cursor)

    async def detail(self, grain_id: GrainId) -> ActivationDetail | None:
        """One activation of this silo; None if it has none of this grain. Of stateless workers, the busiest."""
        found = self._activation(grain_id)
        if found is None:
            return None
        registered = "" if found.hosted.options.stateless_workers else await self._registered(grain_id)
        found = self._activation(grain_id)  # the world may have changed meanwhile
        return None if found is None else detail_of(self._address, found, registered, self._awaited_by)

    def _activation(self, grain_id: GrainId) -> Activation | None:
        target = self._catalog.find(grain_id)
        if target is None or isinstance(target, Activation):
            return target
        return max(target.workers, key=lambda worker: len(worker.running) + len(worker.waiting), default=None)

    async def _registered(self, grain_id: GrainId) -> str:
        try:
            entry = await self._directory.directory.lookup(grain_id)
        except GrangeError as error:
            return f"not known: {error}"
        return "" if entry is None else f"{entry.silo} activation {entry.activation:032x}"

    async def _answer_figures(self, _: bytes) -> bytes:
        return msgspec.msgpack.encode(self.figures.snapshot())

    async def _answer_find(self, question: bytes) -> bytes:
        return msgspec.msgpack.encode(await self.find(msgspec.msgpack.decode(question, type=FindActivations)))

    async def _answer_detail(self, question: bytes) -> bytes:
        return msgspec.msgpack.encode(await self.detail(msgspec.msgpack.decode(question, type=GrainId)))
