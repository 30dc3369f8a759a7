"""Moves activations of this silo to silos with fewer, after a change of the cluster such as a scale-out.

Each silo does that for itself, from the numbers that the silos tell each other (`load_gossip.py`). An activation with
ring placement moves to its ring owner only, so that its calls stay one hop. What `is_movable` refuses stays.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator

from grange.directory.cluster import ClusterDirectory
from grange.grains.deactivation import DeactivationCode, DeactivationReason
from grange.observability.catalogue import ActivationsRebalanced
from grange.observability.events import Events
from grange.observability.snapshot import BalanceSnapshot
from grange.placement.balance import SharedSuspension, imbalance, surplus
from grange.placement.options import PlacementOptions
from grange.proto.acts import Level
from grange.proto.ids import SiloAddress
from grange.proto.management import REBALANCING, RebalancingState, encode
from grange.runtime.activations.activation import Activation
from grange.runtime.activations.catalog import Catalog
from grange.runtime.activations.moves import Departure
from grange.runtime.system_target import SystemTargets

AT_ONCE = 25
"""Activations that move at the same time: enough to overlap the waits, few enough that calls do not notice."""

REASON = DeactivationReason(DeactivationCode.MOVED, "it moves to a silo with fewer activations")


class Rebalancer:
    """The rebalancer of one silo. `run` is its task; without the option `rebalance` it only answers."""

    def __init__(
        self,
        directory: ClusterDirectory,
        catalog: Catalog,
        options: PlacementOptions,
        events: Events,
        rng: random.Random,
    ) -> None:
        self._directory = directory
        self._loads = directory.loads
        self._catalog = catalog
        self._options = options
        self._events = events
        self._random = rng
        self._loop = asyncio.get_running_loop()
        self.suspension = SharedSuspension(directory.me, self._loop.time)
        self._seen: tuple[frozenset[SiloAddress], ...] = ()
        self._changed_at = self._loop.time()
        self.moved = 0
        self.failed = 0
        self._last_round = 0

    def serve(self, targets: SystemTargets) -> None:
        """Offer the system target that reports."""
        targets.serve(REBALANCING, self._answer, Level.VIEWER)

    async def run(self) -> None:
        """Run a round once per period, for the life of the silo."""
        while self._options.rebalance:
            await asyncio.sleep(self._options.rebalance_period * self._random.uniform(0.8, 1.2))
            if not self._obstacle():
                await self.round()

    async def round(self) -> int:
        """Move what is above the mean, up to `rebalance_moves`. Returns how many activations have moved."""
        wanted = surplus(self._directory.me, self._counts(), self._options.rebalance_tolerance)
        self._last_round = moved = failed = 0
        chosen = self._chosen(wanted, min(sum(wanted.values()), self._options.rebalance_moves))
        while departures := self._depart(chosen):
            landed = await asyncio.gather(*(departure.outcome for departure in departures))
            arrived = sum(each.silo is not None for each in landed)
            moved, failed = moved + arrived, failed + len(landed) - arrived
            if self._obstacle():
                break
        self.moved, self.failed, self._last_round = self.moved + moved, self.failed + failed, moved
        if moved or failed:
            self._events.publish(ActivationsRebalanced(moved, failed, round(self.imbalance, 3)))
        return moved

    @property
    def imbalance(self) -> float:
        """By which share of the mean the fullest silo has more activations, as far as this silo knows."""
        return imbalance(self._counts())

    def state(self) -> RebalancingState:
        """The report of this silo."""
        counts = self._counts()
        mean = sum(counts.values()) / len(counts) if counts else 0.0
        return RebalancingState(
            self._directory.me,
            self._obstacle() or "running",
            self.suspension.left,
            counts.get(self._directory.me, 0),
            mean,
            imbalance(counts),
            self._last_round,
            self.moved,
            self.failed,
        )

    def snapshot(self) -> BalanceSnapshot:
        """The figures of this silo."""
        return BalanceSnapshot(self.imbalance, self.moved, self.suspension.left)

    async def _answer(self, _: bytes) -> bytes:
        return encode(self.state())

    def _obstacle(self) -> str:
        """Why nothing moves now; empty if activations may move."""
        topology, now = self._directory.topology, self._loop.time()
        active = topology.ring.addresses
        if (active, topology.unsettled) != self._seen:
            self._seen, self._changed_at = (active, topology.unsettled), now
        if not self._options.rebalance:
            return "off"
        if self.suspension.left:
            return "suspended"
        if self._directory.me not in active or not self._catalog.is_open:
            return "this silo is not active"
        if now - self._changed_at < self._options.rebalance_delay:
            return "waits: the cluster has changed"
        if len({topology.revisions[silo] for silo in active}) > 1:
            return "waits: two revisions are active"
        if not active <= self._loads.fresh().keys():
            return "waits for the loads of all silos"
        return ""

    def _counts(self) -> dict[SiloAddress, int]:
        """The activations of the silos that take new grains, and of this one, as far as they are known."""
        topology, loads = self._directory.topology, self._loads.fresh()
        known = {
            silo: load.activations + load.placed for silo, load in loads.items() if silo in topology.ring.addresses
        }
        if self._directory.me in topology.ring.addresses:
            known[self._directory.me] = sum(self._catalog.counts().values())
        me = self._directory.me
        return {silo: count for silo, count in sorted(known.items()) if silo == me or silo not in topology.cordoned}

    def _chosen(self, wanted: dict[SiloAddress, int], most: int) -> Iterator[tuple[Activation, SiloAddress]]:
        """Yield activations that may move, each with the silo that gets it, until each silo has its share."""
        left = dict(wanted)
        for activation in self._catalog.activations() if most else ():
            if not is_movable(activation, self._loop.time()):
                continue
            target = self._target(activation, left)
            if target is None:
                continue
            left[target] -= 1
            most -= 1
            yield activation, target
            if not most:
                return

    def _target(self, activation: Activation, left: dict[SiloAddress, int]) -> SiloAddress | None:
        """The silo of its placement that has a share left."""
        placer, grain_id = self._directory.placer, activation.grain_id
        if placer.is_computed(grain_id.type):
            owner = placer.computed(grain_id)
            return owner if owner is not None and left.get(owner, 0) > 0 else None
        return placer.among(grain_id, [silo for silo, share in left.items() if share > 0])

    def _depart(self, chosen: Iterator[tuple[Activation, SiloAddress]]) -> list[Departure]:
        """Begin the next moves. One that is not idle any more stays."""
        departures: list[Departure] = []
        for activation, target in chosen:
            departure = activation.migrate(target, REASON)
            if departure is not None:
                departures.append(departure)
            if len(departures) >= AT_ONCE:
                break
        return departures


def is_movable(activation: Activation, now: float) -> bool:
    """Whether the rebalancer may move it: idle now, and neither its class nor its grain says that it stays.

    Timers end with an activation, so one that has timers stays, too.
    """
    options = activation.hosted.options
    return (
        activation.idle
        and activation.claimed
        and options.migratable
        and not options.keep_alive
        and not options.stateless_workers
        and activation.keep_until <= now
        and all(timer.stopped for timer in activation.timers)
    )
