"""One live grain: activating, active, closing, ending, gone. It decides when a request of its mailbox becomes a turn.

Created by `catalog.py`, which inserts it before anything is awaited. Requests that arrive while it is activating or
closing wait; whatever still waits when it is gone is refused, so that the callers' loops try again.
"""

from __future__ import annotations

import asyncio
import enum
import math
import random
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar, cast

import msgspec

from grange.aio.tasks import Tasks
from grange.errors import InvalidCall
from grange.grains.context import current_activation
from grange.grains.definition import Addressable
from grange.grains.grain import Timer
from grange.grains.ref import GrainFactory
from grange.proto.faults import Faults
from grange.proto.ids import GrainAddress, GrainId, SiloAddress
from grange.proto.keys import Key, decode_key
from grange.proto.message import Reason
from grange.runtime.activations.hosted import Built, HostedType
from grange.runtime.activations.invoker import Invoker, run_turn
from grange.runtime.activations.mailbox import Mailbox
from grange.runtime.activations.timers import GrainTimer
from grange.runtime.gate import Gate
from grange.runtime.locator import Claims
from grange.runtime.options import RuntimeOptions
from grange.runtime.requests.invocation import Invocation, expired
from grange.runtime.requests.refusal import Refused

G = TypeVar("G", bound=Addressable)


OWN_WISH = "the grain asked for it"
"""Why an activation ends that called `deactivate_when_idle`."""


JOIN_AFTER = 0.2
"""Seconds that the last turns of a closing activation have to themselves. Then those requests join them that may run
beside them, and so again: at once would let a steady load keep the activation from ever ending."""


class ActivationDeps(msgspec.Struct, frozen=True, eq=False):
    """What all activations of one silo share. Made once at start-up."""

    here: SiloAddress
    options: RuntimeOptions
    grains: GrainFactory
    faults: Faults
    invoker: Invoker
    tasks: Tasks
    random: random.Random
    gate: Gate = msgspec.field(default_factory=Gate)


class Phase(enum.IntEnum):
    """The life of an activation; it only moves forward."""

    ACTIVATING = 0
    ACTIVE = 1
    CLOSING = 2  # running requests complete, others wait
    ENDING = 3  # `on_deactivate` runs and the claim is released
    GONE = 4


class Home(Protocol):
    """Who keeps an activation: the catalog, or a pool of stateless workers."""

    deps: ActivationDeps
    claims: Claims

    def begin(self, activation: Activation) -> None:
        """Run its beginning (`lifecycle.activate`) in a task."""
        ...

    def ready(self, activation: Activation) -> None:
        """It became active."""
        ...

    def end(self, activation: Activation) -> None:
        """Run its end (`lifecycle.deactivate`) in a task."""
        ...

    def elsewhere(self, grain_id: GrainId) -> SiloAddress | None:
        """Where callers should look for the grain when this activation is gone; None: they will find out."""
        ...

    def left(self, activation: Activation) -> None:
        """It is gone; forget it."""
        ...


class Activation:
    """One activation of one grain; it is also what the grain sees as its context. Kept small: there may be millions."""

    __slots__ = (
        "activation", "built", "claimed", "grain_id", "home", "hosted", "keep_until", "last_used", "mailbox", "phase",
        "reason", "timers", "version",
    )  # fmt: skip

    def __init__(self, grain_id: GrainId, hosted: HostedType, home: Home, now: float) -> None:
        self.grain_id = grain_id
        self.hosted = hosted
        self.home = home
        self.activation = home.deps.random.getrandbits(128)
        self.version = 0
        self.claimed = False  # True while the directory has its entry
        self.built: Built | None = None
        self.phase = Phase.ACTIVATING
        self.reason = ""
        self.mailbox = Mailbox(hosted.options.reentrant)
        self.timers: tuple[GrainTimer, ...] = ()
        self.last_used = now
        self.keep_until = -math.inf

    # --- requests -------------------------------------------------------------------------------------------------

    def receive(self, call: Invocation) -> None:
        """One request for this grain. It runs now, waits, or is refused."""
        loop = asyncio.get_running_loop()
        if call.keeps_alive:
            self.last_used = loop.time()
        call.status = self.status
        if self.phase in (Phase.ACTIVE, Phase.CLOSING):
            if not self._admit(call):
                return
            if self.phase is Phase.ACTIVE and self.mailbox.may_run(call):
                self._start(call)
                return
        elif self.phase is Phase.GONE:
            call.refuse(Refused(Reason.NOT_HERE, "the activation has just ended"))
            return
        if self.mailbox.depth >= self.hosted.mailbox_limit:
            call.refuse(Refused(Reason.OVERLOADED, f"{self.mailbox.depth} requests wait already", retry_after=0.1))
        else:
            self.mailbox.wait(call)

    def status(self, call: Invocation) -> str:
        """How far a request got, for the caller's time-out message."""
        position = self.mailbox.position(call)
        if position is not None:
            return f"queued at {position + 1} of {self.mailbox.depth} ({self.phase.name.lower()})"
        return f"running for {max(0.0, self.home.deps.gate.clock() - call.began):.1f} s"

    def _admit(self, call: Invocation) -> bool:
        """Read the method's options into the request; refuse what the class does not have."""
        plan = self.hosted.plans.get(call.method)
        if plan is None:
            return True  # a timer tick; the catalog has refused unknown methods
        options = plan.method.options
        call.read_only = options.read_only
        call.always_interleave = options.always_interleave
        if self.hosted.interleaves is None:
            return True
        try:
            call.interleaves = self.hosted.interleaves(self._grain, call.method, call.arguments(plan))
        except InvalidCall as error:
            call.refuse(Refused(Reason.INVALID_CALL, str(error)))
            return False
        except BaseException as error:  # it runs in the task of whoever brings the request, which must not end
            text = f"may_interleave raised {type(error).__qualname__}"
            call.refuse(Refused(Reason.INVALID_CALL, text, cause=error if isinstance(error, Exception) else None))
            if isinstance(error, KeyboardInterrupt):
                raise
            return False
        return True

    def _start(self, call: Invocation) -> None:
        gate = self.home.deps.gate
        now = gate.clock()
        refused = expired(call, now)
        if refused is not None:
            call.refuse(refused)
            return
        call.began = now
        self.mailbox.start(call)
        plan = self.hosted.plans.get(call.method)
        call.task = self.home.deps.invoker.start(run_turn(call, self, self._grain, plan, self._ended, gate))

    def _ended(self, call: Invocation, conflict: bool) -> None:
        self.mailbox.end(call)
        if call.keeps_alive:
            self.last_used = asyncio.get_running_loop().time()
        if conflict:
            self.deactivate("its state was written by somebody else")
        self.pump()

    def pump(self) -> None:
        """Start what may run now; begin to close once nothing runs."""
        while self.phase is Phase.ACTIVE and (call := self.mailbox.next()) is not None:
            self._start(cast("Invocation", call))
        if self.phase is Phase.CLOSING and not self.mailbox.running:
            self.phase = Phase.ENDING
            self.home.end(self)

    def refuse_waiting(self) -> None:
        """The silo is fenced: what has not started must start elsewhere."""
        for call in self.mailbox.take_all():
            cast("Invocation", call).refuse(self.home.deps.gate.refusal())

    # --- life -----------------------------------------------------------------------------------------------------

    @property
    def address(self) -> GrainAddress:
        """What the directory stores of it."""
        return GrainAddress(self.grain_id, self.home.deps.here, self.activation, self.version)

    @property
    def idle(self) -> bool:
        """Active, and nothing runs or waits."""
        return self.phase is Phase.ACTIVE and self.mailbox.idle

    def opened(self, built: Built) -> None:
        """Activation succeeded: serve what waits."""
        self.built = built
        self.phase = Phase.ACTIVE
        self.home.ready(self)
        for call in self.mailbox.take_all():
            self.receive(cast("Invocation", call))

    def deactivate(self, reason: str) -> None:
        """End after the running requests. Later ones wait and are refused at the end, for their callers to repeat."""
        if self.phase is Phase.ACTIVE:
            self.phase = Phase.CLOSING
            self.reason = reason
            self.pump()
            self._join_later()
        elif self.phase is Phase.ACTIVATING:
            self.reason = reason  # lifecycle.activate sees it and gives up

    def _join_later(self) -> None:
        if self.phase is Phase.CLOSING:
            asyncio.get_running_loop().call_later(JOIN_AFTER, self._join)

    def _join(self) -> None:
        """A last turn that goes on may be waiting, even through other grains, for a request that waits here."""
        while self.phase is Phase.CLOSING and (call := self.mailbox.next()) is not None:
            self._start(cast("Invocation", call))
        self._join_later()

    def abandon(self, reason: str) -> None:
        """The silo ends at once: of this activation nothing starts any more, and no end is run."""
        self.reason = reason
        for timer in self.timers:
            timer.stop()
        self.gone(Refused(Reason.NOT_READY, reason))

    def gone(self, refused: Refused) -> None:
        """It is over: refuse all that waits. The home forgets it first, so that a repeated call makes a new one."""
        if self.phase is Phase.GONE:
            return  # it was abandoned while its beginning or end ran
        self.phase = Phase.GONE
        self.home.left(self)
        self.built, self.timers = None, ()  # the collector may hold this activation until its age is over
        for call in self.mailbox.take_all():
            cast("Invocation", call).refuse(refused)

    def guard(self) -> None:
        """Raises RuntimeError when the running code is not a turn of this activation."""
        if current_activation.get() is not self:
            raise RuntimeError(
                f"the state of {self.grain_id} belongs to its activation; call it only inside its own turns"
            )

    @property
    def _grain(self) -> Any:
        assert self.built is not None, "no turn starts before the grain is built"
        return self.built.grain

    # --- what the grain sees (grains.grain.GrainContext) ----------------------------------------------------------

    @property
    def key(self) -> Key:
        """The key, in the kind the class declared."""
        return decode_key(self.hosted.options.key, self.grain_id.key)

    @property
    def activation_id(self) -> str:
        """32 hex digits."""
        return f"{self.activation:032x}"

    def reference(self) -> Any:
        """A reference to this grain."""
        return self.home.deps.grains.from_id(self.hosted.cls, self.grain_id)

    def get_grain(self, grain: type[G], key: Key, *, implementation: str | None = None) -> G:
        """A reference to another grain."""
        return self.home.deps.grains.get_grain(grain, key, implementation=implementation)

    def start_timer(
        self,
        callback: Callable[[], Awaitable[None]],
        due: float,
        period: float | None,
        interleave: bool,
        keep_alive: bool,
    ) -> Timer:
        """A timer that ends with this activation."""
        timer = GrainTimer(self.grain_id, callback, self.receive, interleave, keep_alive)
        timer.change(due, period)
        self.timers = (*(other for other in self.timers if not other.stopped), timer)
        return timer

    def deactivate_when_idle(self) -> None:
        """End after the running requests."""
        self.deactivate(OWN_WISH)

    def delay_deactivation(self, seconds: float) -> None:
        """Not before so many seconds from now."""
        if math.isnan(seconds) or seconds < 0:
            raise ValueError(f"delay_deactivation takes 0 or more seconds, not {seconds!r}")
        self.keep_until = asyncio.get_running_loop().time() + seconds if seconds else -math.inf
