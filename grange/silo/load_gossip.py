"""Tells other silos the load of this one, and what it knows of theirs: a few silos each period, who pass it on.

So each silo sends three small messages a period however many silos there are, and a load reaches all of them in a few
periods. A lost message costs one period.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable

import msgspec

from grange.directory.cluster import ClusterDirectory
from grange.errors import GrangeError
from grange.placement.balance import Suspension
from grange.placement.loads import LoadRow
from grange.placement.options import PlacementOptions
from grange.proto.ids import SiloAddress
from grange.runtime.system_target import Ask, SystemTargets
from grange.silo.rebalancer import Rebalancer

log = logging.getLogger("grange.silo")

LOADS = "placement.loads"
"""The name of the system target. It is on the wire."""

FANOUT = 3
"""Silos that get the loads in one period: among 125 silos, each load reaches all in about five periods."""

ASK_TIMEOUT = 2.0
"""Seconds for a silo to take them."""

MOST_ROWS = 10_000
"""Rows that are taken from one message; the others are ignored."""


class LoadMessage(msgspec.Struct, frozen=True, array_like=True):
    """The loads that a silo knows, and the newest suspension of rebalancing. The answer is empty."""

    rows: list[LoadRow]
    suspension: Suspension


class OwnLoad(msgspec.Struct, frozen=True):
    """The load of this silo and the number of its activations."""

    value: float
    activations: int


class LoadGossip:
    """The gossip of one silo. `run` is its task. `measure` reads the load of this silo."""

    def __init__(
        self,
        ask: Ask,
        directory: ClusterDirectory,
        rebalancer: Rebalancer,
        options: PlacementOptions,
        measure: Callable[[], OwnLoad],
        rng: random.Random,
    ) -> None:
        self._me = directory.me
        self._ask = ask
        self._directory = directory
        self._loads = directory.loads
        self._suspension = rebalancer.suspension
        self._options = options
        self._measure = measure
        self._random = rng

    def serve(self, targets: SystemTargets) -> None:
        """Offer the system target, to other silos only."""
        targets.serve(LOADS, self._answer)

    async def run(self) -> None:
        """Report once per period, for the life of the silo, while anything needs the loads."""
        while True:
            await asyncio.sleep(self._options.load_period * self._random.uniform(0.9, 1.1))
            if self._options.rebalance or self._directory.placer.needs_loads:
                await self.report()

    async def report(self) -> None:
        """Measure this silo, and tell a few others."""
        topology = self._directory.topology
        own = self._measure()
        self._loads.report(own.value, own.activations)
        self._loads.keep_only(topology.live)
        others = sorted(topology.live - {self._me})
        chosen = self._random.sample(others, min(FANOUT, len(others)))
        question = msgspec.msgpack.encode(LoadMessage(self._loads.rows(), self._suspension.row()))
        await asyncio.gather(*(self._tell(silo, question) for silo in chosen))

    async def _tell(self, silo: SiloAddress, question: bytes) -> None:
        try:
            await self._ask(silo, LOADS, question, ASK_TIMEOUT)
        except GrangeError as error:
            log.debug("silo %s did not take the loads; the next period tells others: %s", silo, error)

    async def _answer(self, data: bytes) -> bytes:
        told = msgspec.msgpack.decode(data, type=LoadMessage)
        live = self._directory.topology.live
        self._loads.merge(row for row in told.rows[:MOST_ROWS] if row.silo in live and row.silo != self._me)
        self._suspension.merge(told.suspension)
        return b""
