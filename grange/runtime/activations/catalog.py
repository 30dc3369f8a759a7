"""Which grains are live in this silo: grain id to activation (or pool of workers), each exactly once.

Every request that reaches this silo, from here or from the wire, enters by `deliver`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol

from grange.proto.ids import GrainAddress, GrainId, SiloAddress
from grange.proto.message import Reason
from grange.runtime.activations.activation import Activation, ActivationDeps
from grange.runtime.activations.draining import STOPPING, Elsewhere, Ends, cancel_turns, end_all, ended
from grange.runtime.activations.hosted import HostedType
from grange.runtime.activations.lifecycle import activate, deactivate
from grange.runtime.activations.workers import WorkerPool
from grange.runtime.locator import Claims
from grange.runtime.requests.invocation import Invocation
from grange.runtime.requests.refusal import Refused


class Watches(Protocol):
    """Who is told of each activation that may one day be idle: the collector."""

    def watch(self, activation: Activation) -> None:
        """Look after it until it is gone."""
        ...


class Catalog:
    """The activations of one silo. `deliver` inserts before anything is awaited, so a grain is never created twice."""

    def __init__(
        self, deps: ActivationDeps, hosted: Mapping[str, HostedType], claims: Claims, collector: Watches
    ) -> None:
        self.deps = deps
        self.claims = claims
        self.hosted = hosted
        self._collector = collector
        self._targets: dict[GrainId, Activation | WorkerPool] = {}
        self._open = False
        self._emptied: asyncio.Event | None = None
        self._ends = Ends()
        self._elsewhere: Elsewhere = _nowhere
        deps.gate.on_fence(self._refuse_waiting)

    def open(self) -> None:
        """From now on absent grains are activated here."""
        self._open = True

    @property
    def is_open(self) -> bool:
        """Whether absent grains are activated here: not before the silo joins, and not once it drains."""
        return self._open

    def find(self, grain_id: GrainId) -> Activation | WorkerPool | None:
        """What is live under this identity, in whatever phase."""
        return self._targets.get(grain_id)

    def deliver(self, call: Invocation) -> None:
        """Bring a request to its grain, creating the activation if need be. The request's outcome tells the rest."""
        if self.deps.gate.fenced is not None:
            call.refuse(self.deps.gate.refusal())
            return
        target = self._targets.get(call.grain_id)
        if (
            target is not None
            and (self._open or isinstance(target, Activation))  # a pool of a closed catalog would make new workers
            and self.hosted[call.grain_id.type].plans.get(call.method) is not None
        ):
            target.receive(call)
            return
        hosted = self.hosted.get(call.grain_id.type)
        refused = self._refusal(call, hosted)
        if refused is not None or hosted is None:
            call.refuse(refused or Refused(Reason.NOT_HERE))
        else:
            self._create(call, hosted)

    def _create(self, call: Invocation, hosted: HostedType) -> None:
        if hosted.options.stateless_workers:
            pool = WorkerPool(call.grain_id, hosted, self.deps, self._collector, self._pool_empty)
            self._targets[call.grain_id] = pool
            pool.receive(call)
            return
        activation = Activation(call.grain_id, hosted, self, asyncio.get_running_loop().time())
        self._targets[call.grain_id] = activation
        activation.receive(call)
        self.begin(activation)

    def _refusal(self, call: Invocation, hosted: HostedType | None) -> Refused | None:
        if hosted is None:
            return Refused(Reason.NO_SUCH_GRAIN, f"silo {self.deps.here} hosts no grain type {call.grain_id.type!r}")
        if call.method not in hosted.plans:
            known = ", ".join(sorted(hosted.plans)) or "none"
            return Refused(Reason.NO_SUCH_METHOD, f"{hosted.name!r} has no method {call.method!r}; it has: {known}")
        if not self._open:
            where = self.elsewhere(call.grain_id)
            return Refused(Reason.NOT_READY, f"silo {self.deps.here} is not taking new grains", hint=where)
        return None

    # --- activation.Home ------------------------------------------------------------------------------------------

    def begin(self, activation: Activation) -> None:
        """Start its beginning; on Python 3.12+ one that waits for nothing is active when this returns."""
        self.deps.tasks.adopt(self.deps.invoker.start(activate(activation)))

    def ready(self, activation: Activation) -> None:
        """It may be idle some day."""
        self._collector.watch(activation)

    def end(self, activation: Activation) -> None:
        """Start its end."""
        self._ends.began()
        self.deps.tasks.start(deactivate(activation)).add_done_callback(lambda _: self._ends.ended())

    def elsewhere(self, grain_id: GrainId) -> SiloAddress | None:
        """Where its callers should look next; None, while this silo takes grains: they know as much as it does."""
        return None if self._open else self._elsewhere(grain_id)

    def left(self, activation: Activation) -> None:
        """Forget it, unless a newer one has its place."""
        if self._targets.get(activation.grain_id) is activation:
            del self._targets[activation.grain_id]
        self._note_empty()

    # --- for the rest of the silo ---------------------------------------------------------------------------------

    def activations(self) -> Iterator[Activation]:
        """All of them, workers included, as of now."""
        for target in list(self._targets.values()):
            yield from target.workers if isinstance(target, WorkerPool) else (target,)

    def registered(self) -> Iterable[GrainAddress]:
        """What the directory must know of this silo: activations that won their claim and have not released it.

        Each is looked at when it is asked for; take them all at once for what is true at one moment.
        """
        targets = list(self._targets.values())
        return (target.address for target in targets if isinstance(target, Activation) and target.claimed)

    def is_registered(self, address: GrainAddress) -> bool:
        """Whether this very activation is one of `registered`."""
        target = self._targets.get(address.grain_id)
        return isinstance(target, Activation) and target.claimed and target.address.same_activation(address)

    def is_here(self, address: GrainAddress) -> bool:
        """Whether this very activation exists, in whatever phase."""
        target = self._targets.get(address.grain_id)
        return isinstance(target, Activation) and target.address.same_activation(address)

    def lose(self, address: GrainAddress) -> None:
        """The directory found another activation to be the grain's one: end this one, and leave its entry alone."""
        target = self._targets.get(address.grain_id)
        if isinstance(target, Activation) and target.address.same_activation(address):
            target.claimed = False
            target.deactivate("another activation of this grain holds the claim")

    def renew(self, address: GrainAddress) -> None:
        """Another activation ran beside this one and may have written its state: end it, so that the next loads it."""
        target = self._targets.get(address.grain_id)
        if isinstance(target, Activation) and target.address.same_activation(address) and target.hosted.has_facets:
            target.deactivate("another activation of this grain may have changed its state")

    def counts(self) -> dict[str, int]:
        """Activations by grain type."""
        counts: dict[str, int] = {}
        for activation in self.activations():
            counts[activation.grain_id.type] = counts.get(activation.grain_id.type, 0) + 1
        return counts

    def deactivate_where(self, matches: Callable[[Activation], bool], reason: str) -> int:
        """Have every matching activation end after its running requests. Returns how many were told."""
        chosen = [activation for activation in self.activations() if matches(activation)]
        for activation in chosen:
            activation.deactivate(reason)
        return len(chosen)

    async def drain(self, elsewhere: Elsewhere | None = None) -> None:
        """Take no new grains, end all activations after their running requests, and wait for the last to be gone.

        Who is refused from now on hears from `elsewhere` where to try next.
        """
        self._open = False
        self._elsewhere = elsewhere or self._elsewhere
        await end_all(list(self.activations()), self._ends)
        await self.emptied()

    async def emptied(self) -> None:
        """Wait until no activation is left."""
        self._emptied = asyncio.Event()
        self._note_empty()
        await self._emptied.wait()

    async def abort(self, at_once: bool = False) -> None:
        """Cancel every turn and wait for their ends: draining took too long, or the silo is killed (`at_once`)."""
        self._open = False
        self.deactivate_where(lambda activation: bool(activation.mailbox.running), STOPPING)  # no turn may follow
        turns = cancel_turns(self.activations(), self.deps.here)
        if at_once:
            self.abandon()
        await ended(turns, self.deps.here)
        for activation in list(self.activations()):
            if activation.mailbox.running:  # it will never be empty, so nobody should wait for that
                activation.abandon(f"silo {self.deps.here} has ended, and a turn would not")

    def abandon(self) -> None:
        """From now on no turn, timer or hook of any grain starts here; who waits is refused."""
        self._open = False
        for activation in list(self.activations()):
            activation.abandon(f"silo {self.deps.here} has ended")

    def _refuse_waiting(self) -> None:
        for activation in self.activations():
            activation.refuse_waiting()

    def _pool_empty(self, pool: WorkerPool) -> None:
        if self._targets.get(pool.grain_id) is pool:
            del self._targets[pool.grain_id]
        self._note_empty()

    def _note_empty(self) -> None:
        if self._emptied is not None and not self._targets:
            self._emptied.set()


def _nowhere(_: GrainId) -> None:
    """Nobody knows where."""
    return None
