"""The requests of one activation: the one that runs or waits alone, or all of them in a mailbox."""

from __future__ import annotations

from collections.abc import Collection

from grange.runtime.activations.grain_context import ActivationContext
from grange.runtime.activations.mailbox import MAX_COUNTED, Mailbox
from grange.runtime.activations.phase import Phase
from grange.runtime.requests.invocation import Invocation
from grange.runtime.requests.refusal import Refused


class RequestQueue(ActivationContext):
    """The part of an `Activation` that holds its requests; `Activation` sets the attributes, and starts the turns.

    `turn` is the running request while no other one runs or waits. `first` is the one request that waits while it
    activates. As soon as there are two, or one waits for a turn, `mailbox` holds them all and decides. An idle
    activation has none of these.
    """

    __slots__ = ("first", "mailbox", "phase", "turn")

    phase: Phase
    first: Invocation | None
    turn: Invocation | None
    mailbox: Mailbox[Invocation] | None

    def pump(self) -> None:
        """Start the requests that may run now."""
        raise NotImplementedError

    @property
    def running(self) -> Collection[Invocation]:
        """The requests whose turns have started and not ended."""
        if self.mailbox is not None:
            return self.mailbox.running
        return () if self.turn is None else (self.turn,)

    @property
    def waiting(self) -> Collection[Invocation]:
        """The requests that wait for their turn, in order."""
        if self.mailbox is not None:
            return self.mailbox.waiting or ()
        return () if self.first is None else (self.first,)

    def take_waiting(self) -> list[Invocation]:
        """Remove and return all waiting requests, in order."""
        if self.mailbox is None:
            first, self.first = self.first, None
            taken = [] if first is None else [first]
        else:
            taken = self.mailbox.take_all()
            self._close_mailbox()
        self.hosted.figures.waiting -= len(taken)
        return taken

    def turn_away(self, call: Invocation, refused: Refused) -> bool:
        """Refuse a request if it waits here, and free its place: those behind it may run. False: it does not wait."""
        if self.first is call:
            self.first = None
        elif self.mailbox is None or not self.mailbox.drop(call):
            return False
        self.figures.waiting -= 1
        call.refuse(refused)
        self.pump()
        return True

    def let_overtake(self, call: Invocation) -> None:
        """Start a waiting reader although a writer waits before it."""
        if self.mailbox is not None:
            self.mailbox.let_overtake(call)
            self.pump()

    def blockers(self, call: Invocation) -> list[Invocation] | None:
        """The requests that must end before this waiting one starts. None: it waits for the activation itself."""
        if self.mailbox is None or self.phase not in (Phase.ACTIVE, Phase.CLOSING):
            return None
        return self.mailbox.blockers(call)

    def is_held_back(self, call: Invocation) -> bool:
        """Whether this waiting request waits only behind writers that wait, too."""
        return self.mailbox is not None and self.phase is Phase.ACTIVE and self.mailbox.is_held_back(call)

    def status(self, call: Invocation) -> str:
        """The progress of a request, for the caller's time-out message."""
        position = 0 if self.first is call else None
        if self.mailbox is not None:
            position = self.mailbox.position(call)
        if position is not None:
            place = f"{position + 1}" if position < MAX_COUNTED else f"{MAX_COUNTED + 1} or later"
            return f"queued at {place} of {len(self.waiting)} ({self.phase.name.lower()})"
        return f"running for {max(0.0, self.deps.gate.clock() - call.started_at):.1f} s"

    def _open_mailbox(self) -> Mailbox[Invocation]:
        """The mailbox; if there is none, one that holds the running request, or the first one."""
        if self.mailbox is None:
            self.mailbox = Mailbox(self.hosted.options.reentrant)
            self.deps.queues[self] = None
            if self.turn is not None:
                self._copy_options(self.turn)
                self.mailbox.start(self.turn)
                self.turn = None
            if self.first is not None:
                self.mailbox.wait(self.first)
                self.first = None
        return self.mailbox

    def _close_mailbox(self) -> None:
        """Drop the mailbox if it has nothing to decide."""
        if self.mailbox is not None and self.mailbox.idle:
            self.mailbox = None
            self.deps.queues.pop(self, None)

    def _next(self) -> Invocation | None:
        """Take the first waiting request that may run now out of the mailbox."""
        call = self.mailbox.next() if self.mailbox is not None else None
        self.figures.waiting -= call is not None
        return call

    def _copy_options(self, call: Invocation) -> None:
        """Copy the method's options, which decide beside which requests it may run, into the request."""
        plan = self.hosted.plans.get(call.method)
        if plan is not None:  # a timer tick has its own; the catalog has refused unknown methods
            options = plan.method.options
            call.read_only = options.read_only
            call.always_interleave = options.always_interleave
            call.alone = options.blocking or options.transactional
