"""The observers of one client, or of the code beside the grains of one silo: their objects, queues and turns."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from grange.aio.eager import EagerStart
from grange.aio.tasks import Tasks
from grange.counted import counted
from grange.errors import SiloStopped
from grange.grains.deactivation import DeactivationReason
from grange.grains.definition import Addressable, spec_of
from grange.grains.filters import Filter
from grange.grains.observer import GrainObserver
from grange.grains.ref import GrainFactory, Reference
from grange.observability.counters import TypeFigures
from grange.proto.clients import CLIENT_TYPE, observer_id
from grange.proto.ids import GrainId
from grange.proto.message import Reason
from grange.runtime.activations.draining import CANCEL_TIMEOUT
from grange.runtime.activations.invoker import run_turn
from grange.runtime.gate import Gate
from grange.runtime.requests.filtering import IncomingFilters
from grange.runtime.requests.invocation import Invocation, cancelled, expired
from grange.runtime.requests.plan import MethodPlan, Plans
from grange.runtime.requests.refusal import Refused

O = TypeVar("O", bound=GrainObserver)  # noqa: E741

MOST_OBSERVERS = 100_000
"""Observers that one client may have; a program that makes more forgets to delete them."""

MAX_COUNTED = 1000
"""Most waiting requests that are counted to find the position of one."""


class HostDeps:
    """The parts that all observers of one client share. `waiting`: the most requests that may wait at one observer."""

    def __init__(self, gate: Gate, waiting: int) -> None:
        self.gate = gate
        self.eager = EagerStart()
        self.tasks = Tasks()
        self.waiting = waiting
        self.figures = TypeFigures(CLIENT_TYPE, "", ())


class Observed:
    """One observer: runs its requests one at a time, in order (`invoker.TurnOwner`, `Holder`)."""

    reason: DeactivationReason | None = None

    def __init__(self, grain_id: GrainId, grain: Any, plans: Mapping[str, MethodPlan], deps: HostDeps) -> None:
        self.grain_id = grain_id
        self.grain = grain
        self._plans = plans
        self._deps = deps
        self.turn: Invocation | None = None
        self._waiting: OrderedDict[Invocation, None] = OrderedDict()
        self._starting = False

    @property
    def figures(self) -> TypeFigures:
        """Figures of turns without a method; an observer has none."""
        return self._deps.figures

    def receive(self, call: Invocation) -> None:
        """Take one request: run it now, queue it, or refuse it."""
        if call.method not in self._plans:
            known = ", ".join(sorted(self._plans)) or "none"
            call.refuse(Refused(Reason.NO_SUCH_METHOD, f"the observer has no method {call.method!r}; it has: {known}"))
        elif len(self._waiting) >= self._deps.waiting:
            text = f"{counted(len(self._waiting), 'request waits', 'requests wait')} already at this observer"
            call.refuse(Refused(Reason.OVERLOADED, text, retry_after=0.1))
        else:
            call.holder = self
            self._waiting[call] = None
            if self.turn is not None:
                call.arrived_at = self._deps.gate.clock()
            self._start_waiting()

    def end(self, call: Invocation, error: BaseException | None, now: float) -> None:
        """The turn of this request has ended."""
        self.turn = None
        call.task = None  # else the call, the task and its context form a cycle
        self._start_waiting()

    def failed(self, error: BaseException) -> None:
        """Do nothing: an observer has no state that is stored."""

    def check_saved(self) -> None:
        """Do nothing, as in `failed`."""

    def status(self, call: Invocation) -> str:
        """The progress of a request, for the caller's time-out message."""
        for position, each in zip(range(MAX_COUNTED), self._waiting, strict=False):
            if each is call:
                return f"queued at {position + 1} of {len(self._waiting)}"
        return "running" if call is self.turn else f"queued at {MAX_COUNTED + 1} or later"

    def withdraw(self, call: Invocation, interrupt: bool) -> None:
        """Refuse a waiting request whose caller has gone, or interrupt its turn, if it may be."""
        if call in self._waiting:
            del self._waiting[call]
            call.refuse(cancelled())
        elif interrupt and self._plans[call.method].method.options.cancellable:
            call.interrupt()

    def stop(self, refused: Refused) -> None:
        """Refuse all requests that wait. The one that runs completes."""
        waiting, self._waiting = self._waiting, OrderedDict()
        for call in waiting:
            call.refuse(refused)

    def cancel(self, error: SiloStopped) -> None:
        """Cancel the turn; its outcome is unknown."""
        if self.turn is not None:
            self.turn.fail_unknown(error)
            if self.turn.task is not None:
                self.turn.task.cancel()

    def _start_waiting(self) -> None:
        """Start the first waiting request, and the next ones as long as they end at once."""
        if self._starting:
            return  # a turn ended at once, inside the loop below
        self._starting = True
        try:
            while self.turn is None and self._waiting:
                self._start(self._waiting.popitem(last=False)[0])
        finally:
            self._starting = False

    def _start(self, call: Invocation) -> None:
        deps = self._deps
        if (refused := expired(call, deps.gate.clock())) is not None:
            call.refuse(refused)
            return
        self.turn = call
        task = deps.eager.start(run_turn(call, self._plans[call.method], self, self.grain, deps.gate))
        deps.tasks.adopt(task)
        if self.turn is call:  # else it has ended already
            call.task = task


class ObserverHost:
    """The observers of one client. `client` is its id; `new_number` gives each observer a number of 64 random bits."""

    def __init__(
        self,
        client: str,
        plans: Plans,
        filters: tuple[Filter, ...],
        deps: HostDeps,
        new_number: Callable[[], int],
    ) -> None:
        self.client = client
        self._plans = plans
        self._filters = filters
        self._deps = deps
        self._new_number = new_number
        self._observers: dict[GrainId, Observed] = {}
        self._classes: dict[type, Mapping[str, MethodPlan]] = {}
        self._closed = False

    def __len__(self) -> int:
        return len(self._observers)

    def create(self, observer: O, grains: GrainFactory) -> O:
        """A reference to this object, which grains may call from now on. Raises TypeError if it is no observer."""
        check_observer(observer)
        if len(self._observers) >= MOST_OBSERVERS:
            raise OverflowError(f"this client has {MOST_OBSERVERS:,} observers already; delete those that have ended")
        grain_id = observer_id(self.client, self._new_number())
        self._observers[grain_id] = Observed(grain_id, observer, self._methods(type(observer)), self._deps)
        return grains.from_id(type(observer), grain_id)

    def delete(self, reference: Any) -> bool:
        """End the observer behind a reference: later and waiting calls are refused. Returns whether there was one."""
        if not isinstance(reference, Reference):
            raise TypeError(
                f"delete_observer takes the reference that create_observer returned, not {reference!r:.100}"
            )
        observed = self._observers.pop(reference.id, None)
        if observed is not None:
            observed.stop(_deleted())
        return observed is not None

    def deliver(self, call: Invocation) -> None:
        """Hand a request to its observer."""
        observed = self._observers.get(call.grain_id)
        if observed is None or self._closed:
            call.refuse(_deleted())
        else:
            observed.receive(call)

    async def close(self) -> None:
        """Refuse all requests from now on, and cancel the turns that run: the client ends.

        Turns that ignore this for `CANCEL_TIMEOUT` are logged and left running.
        """
        if self._closed:
            return
        self._closed = True
        observers = list(self._observers.values())
        for observed in observers:
            observed.stop(_deleted())
        for observed in observers:
            observed.cancel(SiloStopped(f"the client of {observed.grain_id} was closed while it ran the call"))
        self._observers.clear()
        await self._deps.tasks.close(CANCEL_TIMEOUT)

    def _methods(self, cls: type[GrainObserver]) -> Mapping[str, MethodPlan]:
        """The plans of a class, with the filters around its methods."""
        methods = self._classes.get(cls)
        if methods is None:
            methods = self._classes[cls] = self._plans.of_interface(spec_of(cls))
            IncomingFilters(self._filters, cls, methods)
        return methods


def check_observer(observer: object) -> None:
    """Raise TypeError for anything but an object whose class derives from GrainObserver."""
    if isinstance(observer, Reference):
        raise TypeError(f"{observer!r} is a reference already; pass it as it is")
    if isinstance(observer, GrainObserver) and not isinstance(observer, type):
        return
    if isinstance(observer, Addressable):
        raise TypeError(f"{type(observer).__name__} is a grain; grains call it by self.reference")
    raise TypeError(f"an observer is an object of a class that derives from GrainObserver, not {observer!r:.100}")


def _deleted() -> Refused:
    return Refused(Reason.NO_SUCH_GRAIN, "its client has deleted this observer")
