"""What the code of a grain may do with its activation: `grains.grain.GrainContext`, except for its turns."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from typing import Any, TypeVar

from grange.grains.context import current_turn
from grange.grains.deactivation import DeactivationCode, DeactivationReason
from grange.grains.definition import Addressable
from grange.grains.finding import GrainFinder
from grange.grains.grain import Timer
from grange.grains.service import SiloService
from grange.grains.tick import Jobs, Reminders
from grange.grains.work import Work
from grange.observability.counters import TypeFigures
from grange.proto.chain import with_turn
from grange.proto.ids import GrainId, SiloAddress
from grange.proto.keys import Key, decode_key
from grange.runtime.activations.deps import ActivationDeps
from grange.runtime.activations.hosted import HostedType
from grange.runtime.activations.moves import Departure
from grange.runtime.activations.phase import SELF_DEACTIVATED, Phase
from grange.runtime.activations.timers import GrainTimer, check_callback, name_of
from grange.runtime.activations.transactions import in_work
from grange.runtime.requests.invocation import Invocation, expired
from grange.runtime.requests.plan import Batch, MethodPlan, StreamPlan

G = TypeVar("G", bound=Addressable)
S = TypeVar("S", bound=SiloService)
R = TypeVar("R")


class ActivationContext:
    """The part of an `Activation` that its grain uses; `Activation` sets the attributes.

    `keep_until`: loop time before which the idle collector must not end it. `kept_reminders`: its `reminders`, once it
    has used them or got a tick.
    """

    __slots__ = ("grain_id", "hosted", "keep_until", "kept_reminders", "timers")

    grain_id: GrainId
    hosted: HostedType
    timers: tuple[GrainTimer, ...]
    keep_until: float
    kept_reminders: Reminders | None
    activation_id: int
    phase: Phase

    @property
    def principal(self) -> bytes:
        """Its hooks run for no caller, as the grain."""
        return self.hosted.principal

    spoken = principal

    def speak(self) -> bytes:
        """The identity of the calls of a hook: the grain."""
        return self.hosted.principal

    onward = b""
    """Its hooks are no turns: each call that they make begins a chain."""

    @property
    def holder(self) -> ActivationContext:
        """Itself: what its hooks do belongs to it."""
        return self

    def extend(self, dice: random.Random) -> bytes:
        """The chain of one call of a hook."""
        return with_turn(b"", dice.getrandbits(64))

    @property
    def deps(self) -> ActivationDeps:
        """The parts that all activations of this silo share."""
        raise NotImplementedError

    @property
    def grain(self) -> Any:
        """The instance of the grain class."""
        raise NotImplementedError

    @property
    def running(self) -> Collection[Invocation]:
        """The requests whose turns have started and not ended."""
        raise NotImplementedError

    def receive(self, call: Invocation) -> None:
        """Take one request for this grain."""
        raise NotImplementedError

    def deactivate(self, reason: DeactivationReason) -> None:
        """End after the running requests."""
        raise NotImplementedError

    def open_items(self, name: str, items: AsyncGenerator[Any, None]) -> Awaitable[Batch]:
        """`grains.items.Enumerates`: begin an enumeration. Raises Refused before the generator runs."""
        plan = self.hosted.plans[name]
        assert isinstance(plan, StreamPlan)
        return self.deps.enumerations.open(self, plan, items)

    async def next_items(self, number: int, most: int) -> Batch:
        """`grains.items.Enumerates`: the next batch."""
        return await self.deps.enumerations.fetch(self, number, most)

    async def close_items(self, number: int, wait: bool) -> None:
        """`grains.items.Enumerates`: end an enumeration early."""
        await self.deps.enumerations.close(self, number, wait)

    async def in_work(self, plan: MethodPlan, args: tuple[Any, ...]) -> Any:
        """`grains.work.RunsWork`: run a transactional method."""
        return await in_work(await self.begin_work(), plan, self.grain, args)

    async def begin_work(self) -> Work:
        """Begin a unit of work on its facets."""
        raise NotImplementedError

    @property
    def is_single(self) -> bool:
        """`grains.facets.FacetOwner`: whether its grain has one activation."""
        return not self.hosted.options.stateless_workers

    @property
    def figures(self) -> TypeFigures:
        """The figures of its grain type."""
        return self.hosted.figures

    @property
    def takes_enumerations(self) -> bool:
        """Whether it is active and does not end."""
        return self.phase is Phase.ACTIVE

    def enumeration_ended(self) -> None:
        """One of its enumerations is gone; a closing activation may have waited for it."""
        if self.phase is Phase.CLOSING:
            self.pump()

    def pump(self) -> None:
        """Start the requests that may run now; start the deactivation when nothing is left to wait for."""
        raise NotImplementedError

    def failed(self, error: BaseException) -> None:
        """An error has left the grain's code."""
        raise NotImplementedError

    def check_turn(self) -> None:
        """Raise RuntimeError unless the running code is a turn of this activation, in the silo's event loop."""
        self._check_loop(f"use of the state of {self.grain_id}")
        turn = current_turn.get()
        if turn is None or turn.holder is not self:
            raise RuntimeError(
                f"the state of {self.grain_id} belongs to its activation; use it only in the turns of that activation"
            )

    def _check_loop(self, action: str) -> None:
        """Raise WrongLoop in a thread or another loop: `asyncio.to_thread` takes the context of the turn along."""
        self.deps.binding.check(action)

    @property
    def key(self) -> Key:
        """The key, in the type that the class declares."""
        return decode_key(self.hosted.options.key, self.grain_id.key)

    def reference(self) -> Any:
        """A reference to this grain."""
        return self.deps.grains.from_id(self.hosted.cls, self.grain_id)

    def get_grain(self, grain: type[G], key: Key, *, implementation: str | None = None) -> G:
        """A reference to another grain."""
        return self.deps.grains.get_grain(grain, key, implementation=implementation)

    def get_service(self, service: type[S], key: Key) -> S:
        """A reference to a silo service."""
        if self.deps.get_service is None:
            raise RuntimeError(f"{self.grain_id} runs outside a silo, where no silo service runs")
        return self.deps.get_service(service, key)

    @property
    def finder(self) -> GrainFinder:
        """Finds stored grains."""
        if self.deps.finder is None:
            raise RuntimeError(f"{self.grain_id} runs outside a silo, where no grains are stored")
        return self.deps.finder

    @property
    def reminders(self) -> Reminders:
        """The reminders of this grain, which also take its ticks."""
        self._check_loop(f"use of the reminders of {self.grain_id}")
        if self.kept_reminders is None:
            if self.deps.reminders is None:
                raise RuntimeError(f"{self.grain_id} runs in a silo whose storage keeps no reminders")
            self.kept_reminders = self.deps.reminders(self.grain_id, self.hosted.cls)
        return self.kept_reminders

    @property
    def jobs(self) -> Jobs:
        """Jobs of any grain."""
        if self.deps.jobs is None:
            raise RuntimeError(f"{self.grain_id} runs in a silo whose storage keeps no jobs")
        return self.deps.jobs

    def start_timer(
        self,
        callback: Callable[[], Awaitable[None]],
        due: float,
        period: float | None,
        interleave: bool,
        keep_alive: bool,
    ) -> Timer:
        """Start a timer that ends with this activation."""
        if self.hosted.filters:
            check_callback(callback)
            callback = self.hosted.filters.around_tick(self.grain, name_of(callback), callback)
        timer = GrainTimer(self.grain_id, callback, self.receive, interleave, keep_alive, self.deps)
        timer.principal = self.hosted.principal
        timer.change(due, period)
        self.timers = (*(other for other in self.timers if not other.stopped), timer)
        return timer

    async def run_in_thread(self, method: Callable[..., Any], function: Callable[[], R]) -> R:
        """Run the function of this `@blocking` method in a thread. Raises Refused if the turn must not start any more.

        That is so if the turn is about to call exactly this method, and had to wait for a thread for too long.
        """
        self._check_loop(f"a blocking method of {self.grain_id}")
        return await self.deps.threads.run(function, lambda: self._check_wanted(method))

    def _check_wanted(self, method: Callable[..., Any]) -> None:
        task = asyncio.current_task()
        call = next((call for call in self.running if call.task is task), None)
        plan = None if call is None else self.hosted.plans.get(call.method)
        if call is not None and plan is not None and plan.method.function is method:
            refused = expired(call, self.deps.gate.clock())
            if refused is not None:
                raise refused

    def deactivate_when_idle(self) -> None:
        """End after the running requests."""
        self._check_loop(f"deactivate_when_idle of {self.grain_id}")
        self.deactivate(SELF_DEACTIVATED)

    def migrate(self, target: SiloAddress | None, reason: DeactivationReason) -> Departure | None:
        """Move to another silo after the running requests; later ones wait, and then go there.

        None: it is not active yet, or gone.
        """
        if self.phase in (Phase.ACTIVATING, Phase.GONE):
            return None
        departures = self.deps.moves.departures
        departure = departures[self.activation_id] = departures.get(self.activation_id) or Departure(target)
        departure.target = target
        self.deactivate(reason)
        return departure

    def migrate_when_idle(self, target: SiloAddress | None = None) -> None:
        """Move to `target`, or where its placement chooses, after the running requests."""
        self._check_loop(f"migrate_when_idle of {self.grain_id}")
        options, carrier = self.hosted.options, self.deps.moves.carrier
        if options.stateless_workers or not options.migratable:
            cause = "migratable=False" if not options.migratable else "stateless_workers="
            raise RuntimeError(f"{self.grain_id} does not move: its class has {cause}")
        if target == self.deps.address or (target is None and carrier.elsewhere(self.grain_id) is None):
            return
        if target is not None and (obstacle := carrier.obstacle(self.grain_id.type, target)):
            raise ValueError(f"{self.grain_id} cannot move to {target}: {obstacle}")
        reason = DeactivationReason(DeactivationCode.MOVED, f"it moves to {target or 'another silo'}")
        if self.migrate(target, reason) is None:
            raise RuntimeError(f"{self.grain_id} cannot move before it is active: move it in a turn")

    def delay_deactivation(self, seconds: float) -> None:
        """Keep this activation from the idle collector for `seconds` from now; 0 cancels the delay."""
        if math.isnan(seconds) or seconds < 0:
            raise ValueError(f"delay_deactivation takes 0 or more seconds, not {seconds!r}")
        self._check_loop(f"delay_deactivation of {self.grain_id}")
        self.keep_until = asyncio.get_running_loop().time() + seconds if seconds else -math.inf
