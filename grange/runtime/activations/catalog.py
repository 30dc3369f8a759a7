"""The activations of this silo, by grain id: at most one activation, or one pool of stateless workers, per grain.

Every request to a grain of this silo, from this process or from the wire, enters by `deliver`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from types import MappingProxyType

from grange.aio.portions import PORTION, in_portions
from grange.grains.deactivation import DeactivationCode, DeactivationReason
from grange.proto.clients import CLIENT_TYPE
from grange.proto.ids import GrainAddress, GrainId, SiloAddress
from grange.proto.message import Reason, Request
from grange.runtime.activations.activation import Activation
from grange.runtime.activations.deps import ActivationDeps
from grange.runtime.activations.draining import (
    STOPPING,
    Deactivations,
    NextSilo,
    cancel_running,
    deactivate_all,
    wait_cancelled,
)
from grange.runtime.activations.elsewhere import hinted, refuse_unserved
from grange.runtime.activations.held_grains import held
from grange.runtime.activations.hosted import HostedType
from grange.runtime.activations.killed import KilledActivations
from grange.runtime.activations.lifecycle import activate, deactivate
from grange.runtime.activations.moves import Arrival
from grange.runtime.activations.roster import Roster
from grange.runtime.activations.workers import IdleWatcher, WorkerPool
from grange.runtime.locator import Claims
from grange.runtime.requests.authorization import Authorization
from grange.runtime.requests.invocation import Invocation
from grange.runtime.requests.refusal import Refused

Target = Activation | WorkerPool
"""What the catalog holds for a grain id."""


BATCH = 1000
"""Activations that are looked at before the event loop runs other tasks: a few milliseconds."""

DUPLICATE = DeactivationReason(DeactivationCode.DUPLICATE, "another activation of this grain holds the claim")

OUTDATED = DeactivationReason(DeactivationCode.OUTDATED, "another activation of this grain may have changed its state")


class Catalog:
    """The activations of one silo. `deliver` inserts before it awaits anything, so no grain gets a second one.

    targets: all live activations and pools, for turns that start without `deliver`.
    takes: whether a new grain of this type may be here, for a caller that needs this `interface_version`; not while the
        silo is cordoned.
    serving: the silo that serves a caller with this `interface_version`, which this silo does not serve; None: none.
    deliver_to_client: takes the requests for observers.
    authorization: decides whether callers may make their calls; None: nothing restricts them.
    """

    def __init__(
        self, deps: ActivationDeps, hosted: Mapping[str, HostedType], claims: Claims, collector: IdleWatcher
    ) -> None:
        self.deps = deps
        self.claims = claims
        self.hosted = hosted
        for name, each in hosted.items():
            deps.figures.methods.update({(name, figures.method): figures for figures in each.figures.methods})
        self._collector = collector
        self.targets: dict[GrainId, Target] = {}
        self._roster = Roster[Target]()
        self._open = False
        self.takes: Callable[[str, int], bool] = _always
        self.serving: Callable[[GrainId, int], SiloAddress | None] = _nowhere
        self.deliver_to_client: Callable[[Invocation], None] = _refuse_to_carry
        self.authorization: Authorization | None = None
        self._emptied: asyncio.Event | None = None
        self._deactivations = Deactivations()
        self._killed = KilledActivations()
        self._next_silo: NextSilo = _nowhere
        deps.gate.on_fence(self._refuse_waiting)

    def open(self) -> None:
        """Activate absent grains here from now on."""
        self._open = True

    @property
    def is_open(self) -> bool:
        """Whether absent grains are activated here. False before the silo joins and once it drains."""
        return self._open

    def find(self, grain_id: GrainId) -> Target | None:
        """The live activation or pool of this grain, in any phase."""
        return self.targets.get(grain_id)

    def direct(self) -> Mapping[GrainId, Target]:
        """All live activations and pools, for turns that start without `deliver`. Empty if this silo is fenced."""
        return _NONE if self.deps.gate.fenced is not None else self.targets

    def deliver(self, call: Invocation) -> None:
        """Hand a request to its grain; create the activation if there is none. An error becomes the call's outcome."""
        target = self.targets.get(call.grain_id)
        if (
            isinstance(target, Activation)
            and (plan := target.ready(call.method)) is not None
            and (plan.guard is None or call.principal in plan.guard)
            and (not call.interface_version or target.hosted.serves(call.interface_version))
        ):
            target.start(call, plan)  # the usual case: the grain is here and idle
        elif self.deps.gate.fenced is not None:
            call.refuse(self.deps.gate.refusal())
        elif self.authorization is not None and (refused := self.authorization.refusal(call)) is not None:
            call.refuse(refused)
        else:
            self._deliver_slowly(call, target)

    def _deliver_slowly(self, call: Invocation, target: Target | None) -> None:
        hosted = self.hosted.get(call.grain_id.type)
        if call.interface_version and hosted is not None and not hosted.serves(call.interface_version):
            silo = self.serving(call.grain_id, call.interface_version)
            refuse_unserved(call, hosted, None if silo == self.deps.address else silo, target)
            return
        if (
            target is not None
            and (self._open or isinstance(target, Activation))  # the pool of a closed catalog would create workers
            and self.hosted[call.grain_id.type].plans.get(call.method) is not None
        ):
            target.receive(call)
            return
        if hosted is None and call.grain_id.type == CLIENT_TYPE:
            self.deliver_to_client(call)
            return
        refused = self._refusal(call, hosted)
        if refused is not None or hosted is None:
            call.refuse(refused or Refused(Reason.NOT_HERE))
        else:
            self._create(call, hosted)

    def _create(self, call: Invocation, hosted: HostedType) -> None:
        if self.deps.holds.failing and (refused := held(self.deps, call.grain_id)) is not None:
            call.refuse(refused)
            return
        if hosted.options.stateless_workers:
            pool = WorkerPool(call.grain_id, hosted, self.deps, self._collector, self._pool_empty, lambda: self._open)
            self.insert(pool)
            pool.receive(call)
            return
        activation = Activation(call.grain_id, hosted, self, asyncio.get_running_loop().time())
        self.insert(activation)
        activation.receive(call)
        self.start_activation(activation)

    def insert(self, target: Target) -> None:
        """Hold this activation or pool as that of its grain, in place of the one that it continues."""
        if (replaced := self.targets.get(target.grain_id)) is not None:
            self._roster.remove(replaced, replaced.place)
        self.targets[target.grain_id] = target
        target.place = self._roster.add(target)

    def _refusal(self, call: Invocation, hosted: HostedType | None) -> Refused | None:
        if hosted is None:
            return Refused(Reason.NO_SUCH_GRAIN, f"silo {self.deps.address} hosts no grain type {call.grain_id.type!r}")
        if call.method not in hosted.plans:
            known = ", ".join(hosted.methods) or "none"
            return Refused(Reason.NO_SUCH_METHOD, f"{hosted.name!r} has no method {call.method!r}; it has: {known}")
        if not self._open:
            hint = self.next_silo(call.grain_id)
            return Refused(Reason.NOT_READY, f"silo {self.deps.address} takes no new grains", hint=hint)
        if call.context and (place := hinted(call, hosted, self.deps)) is not None:
            return Refused(Reason.NOT_HERE, f"its placement hint names {place}", hint=place)
        if not self.takes(call.grain_id.type, call.interface_version):
            text = f"silo {self.deps.address} is cordoned and takes no new grains"
            return Refused(Reason.NOT_HERE, text)
        return None

    # --- activation.ActivationOwner -------------------------------------------------------------------------------

    def start_activation(self, activation: Activation) -> None:
        """Start to activate it. An activation that awaits nothing is usually active when this returns."""
        self.deps.tasks.adopt(self.deps.eager.start(activate(activation)))

    def on_active(self, activation: Activation) -> None:
        """Have the collector watch it."""
        self._collector.watch(activation)

    def start_deactivation(self, activation: Activation) -> None:
        """Start to deactivate it."""
        self._deactivations.add()
        self.deps.tasks.start(deactivate(activation)).add_done_callback(lambda _: self._deactivations.remove())

    def next_silo(self, grain_id: GrainId) -> SiloAddress | None:
        """The silo that callers should try next. None while this silo takes grains: callers must locate the grain."""
        return None if self._open else self._next_silo(grain_id)

    def continue_here(self, activation: Activation, memory: bytes) -> bool:
        """Continue an activation that did not move: a new one takes its place, its memory and its waiting requests."""
        if not self._open or self.targets.get(activation.grain_id) is not activation:
            return False
        successor = self._successor(Arrival(activation.address, memory), activation.hosted)
        for call in activation.take_waiting():
            self._deliver_slowly(call, successor)
        self.start_activation(successor)
        return True

    def on_gone(self, activation: Activation) -> None:
        """Remove it, unless a newer activation has replaced it."""
        if self.targets.get(activation.grain_id) is activation:
            del self.targets[activation.grain_id]
            self._roster.remove(activation, activation.place)
        self._note_empty()

    # --- for the rest of the silo ---------------------------------------------------------------------------------

    def arrive(self, arrival: Arrival) -> None:
        """Continue an activation of another silo here. Raises Refused if this silo cannot take it."""
        grain_id = arrival.previous.grain_id
        hosted = self.hosted.get(grain_id.type)
        if hosted is None or hosted.options.stateless_workers or not self._open or not self.takes(grain_id.type, 0):
            raise Refused(Reason.NOT_READY, f"silo {self.deps.address} takes no new grains of type {grain_id.type!r}")
        if self.deps.gate.fenced is not None:
            raise self.deps.gate.refusal()
        if grain_id in self.targets:
            raise Refused(Reason.NOT_READY, f"silo {self.deps.address} has an activation of {grain_id}")
        self.start_activation(self._successor(arrival, hosted))

    def _successor(self, arrival: Arrival, hosted: HostedType) -> Activation:
        """An activation that continues another one; it must be started before anything is awaited."""
        grain_id = arrival.previous.grain_id
        activation = Activation(grain_id, hosted, self, asyncio.get_running_loop().time())
        self.deps.moves.arrivals[activation.activation_id] = arrival
        self.insert(activation)
        return activation

    def activations(self) -> Iterator[Activation]:
        """Yield all activations, including workers. The caller may await in between: see `Roster`."""
        for target in self._roster:
            yield from tuple(target.workers) if isinstance(target, WorkerPool) else (target,)

    def batches(self) -> Iterator[list[Activation]]:
        """Yield `activations`, `BATCH` at a time, for code that lets the event loop run other tasks in between."""
        activations = self.activations()
        while batch := list(islice(activations, BATCH)):
            yield batch

    def registered(self, start: int = 0, count: int | None = None) -> Iterable[GrainAddress]:
        """The entries the directory must hold for this silo: activations that won their claim and have not released it.

        Only those among `count` targets from the `start`-th on. The iterable is lazy: it reads each activation when it
        yields it. Consume it at once for a consistent snapshot.
        """
        targets = list(islice(self.targets.values(), start, None if count is None else start + count))
        return (target.address for target in targets if isinstance(target, Activation) and target.claimed)

    def is_registered(self, address: GrainAddress) -> bool:
        """Whether exactly this activation is one of `registered`."""
        target = self.targets.get(address.grain_id)
        return isinstance(target, Activation) and target.claimed and target.address.same_activation(address)

    def is_here(self, address: GrainAddress) -> bool:
        """Whether exactly this activation exists here, in any phase."""
        target = self.targets.get(address.grain_id)
        return isinstance(target, Activation) and target.address.same_activation(address)

    def deactivate_duplicate(self, address: GrainAddress) -> None:
        """Deactivate this activation, because the directory holds another one. Do not release the directory's entry."""
        target = self.targets.get(address.grain_id)
        if isinstance(target, Activation) and target.address.same_activation(address):
            target.claimed = False
            target.hosted.figures.duplicates += 1
            target.deactivate(DUPLICATE)

    def deactivate_if_stateful(self, address: GrainAddress) -> None:
        """Deactivate this activation if it has state, because a duplicate may have written that state.

        The next activation loads the stored state.
        """
        target = self.targets.get(address.grain_id)
        if isinstance(target, Activation) and target.address.same_activation(address) and target.hosted.has_facets:
            target.deactivate(OUTDATED)

    def has_small_answer(self, request: Request) -> bool:
        """Whether the type of the method's result, such as int or None, says that its answer is small."""
        hosted = self.hosted.get(request.grain_id.type)
        plan = None if hosted is None else hosted.plans.get(request.method)
        return plan is not None and plan.has_small_result

    def counts(self) -> dict[str, int]:
        """The number of activations by grain type."""
        return {name: hosted.live for name, hosted in self.hosted.items() if hosted.live}

    async def deactivate_where(self, matches: Callable[[Activation], bool], reason: DeactivationReason) -> int:
        """Deactivate every matching activation after its running requests. Returns their number.

        They begin to end in portions, after the return; one that does not match any more at its turn stays.
        """
        chosen: list[Activation] = []
        for batch in self.batches():
            chosen += filter(matches, batch)
            await asyncio.sleep(0)

        def end(activation: Activation) -> None:
            if matches(activation):
                activation.deactivate(reason)

        in_portions(chosen, end)
        return len(chosen)

    async def drain(self, next_silo: NextSilo | None = None) -> None:
        """Take no new grains, end all activations after their running requests, and wait until none is left.

        Requests refused from now on carry the hint of `next_silo`.
        """
        self._open = False
        self._next_silo = next_silo or self._next_silo
        await deactivate_all(list(self.activations()), self._deactivations)
        await self.wait_until_empty()

    async def wait_until_empty(self) -> None:
        """Wait until the catalog holds no activation."""
        self._emptied = asyncio.Event()
        self._note_empty()
        await self._emptied.wait()

    async def cancel_turns(self, kill: bool = False) -> None:
        """Cancel every turn and wait until all have ended, because draining took too long.

        Activations whose turns do not end are killed. `kill`: kill all activations.
        """
        self._open = False
        if kill:
            self._killed.mark(self.activations(), f"silo {self.deps.address} has ended")
        turns: list[Invocation] = []
        for busy in self._busy():
            for first in range(0, len(busy), PORTION):
                portion = busy[first : first + PORTION]
                for activation in portion:
                    activation.deactivate(STOPPING)  # first, so that it starts no turn after the cancelled one
                turns += cancel_running(portion, self.deps.address)
                await asyncio.sleep(0)
        await self._killed.clear()
        await wait_cancelled(turns, self.deps.address)
        for stuck in self._busy():  # or the catalog would never become empty
            self._killed.mark(stuck, f"silo {self.deps.address} has ended, but a turn did not")
            await self._killed.clear()

    async def kill(self) -> None:
        """Kill all activations: no turn, timer or hook starts here any more. Waiting requests are refused."""
        self._open = False
        self._killed.mark(self.activations(), f"silo {self.deps.address} has ended")
        await self._killed.clear()

    async def free_killed(self) -> None:
        """Close the services of all activations that were killed. Call it when no task of an activation runs."""
        await self._killed.free(self.deps.address)

    def _busy(self) -> Iterator[list[Activation]]:
        """Yield the activations with running turns, of one batch after the other."""
        for batch in self.batches():
            yield [activation for activation in batch if activation.running]

    def _refuse_waiting(self) -> None:
        in_portions(self.targets.values(), _refuse_waiting)

    def _pool_empty(self, pool: WorkerPool) -> None:
        if self.targets.get(pool.grain_id) is pool:
            del self.targets[pool.grain_id]
            self._roster.remove(pool, pool.place)
        self._note_empty()

    def _note_empty(self) -> None:
        if self._emptied is not None and not self.targets:
            self._emptied.set()


_NONE: Mapping[GrainId, Target] = MappingProxyType({})


def _refuse_waiting(target: Activation | WorkerPool) -> None:
    for activation in target.workers if isinstance(target, WorkerPool) else (target,):
        activation.refuse_waiting()


def _always(_grain_type: str, _wanted: int) -> bool:
    """The default of `Catalog.takes`: no operator says otherwise."""
    return True


def _refuse_to_carry(call: Invocation) -> None:
    """The default of `Catalog.deliver_to_client`: no client can be called."""
    call.refuse(Refused(Reason.NOT_HERE, "no clients are connected here"))


def _nowhere(_grain_id: GrainId, _wanted: int = 0) -> None:
    """The default of `NextSilo` and `Catalog.serving`: no other silo."""
    return None
