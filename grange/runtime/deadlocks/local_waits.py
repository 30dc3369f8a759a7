"""The waits of one silo, read from its activations, turns and pending calls at one moment."""

from __future__ import annotations

import asyncio
import itertools
import weakref
from collections.abc import Iterable
from typing import Any

import msgspec

from grange.aio.awaiting import awaited_futures
from grange.proto.ids import SiloAddress
from grange.proto.waits import Arrival, Wait
from grange.runtime.activations.activation import Activation
from grange.runtime.activations.deps import ActivationDeps
from grange.runtime.activations.phase import Phase
from grange.runtime.calls.inbound import Inbound
from grange.runtime.calls.outgoing import CallerDeps
from grange.runtime.requests.invocation import Invocation

MOST_NODES = 1000
"""Most nodes of one answer. The waits of further ones are left out, so a cycle through them is found later or never."""

MOST_BLOCKERS = 100
"""Most turns in the way of one request that are named."""

Waiter = Invocation | Activation
"""A request, or the hook of an activation."""


class Explored(msgspec.Struct):
    """The nodes that lead on from some, with the requests and activations that they stand for."""

    waits: list[Wait]
    waiters: dict[str, Waiter]


class LocalWaits:
    """Reads the waits of this silo. Nothing here suspends, so all that one call returns held at one moment."""

    def __init__(self, deps: ActivationDeps, calls: CallerDeps, inbound: Inbound) -> None:
        self._deps = deps
        self._calls = calls
        self._inbound = inbound
        self._numbers = itertools.count(1)
        self._named: weakref.WeakValueDictionary[str, Invocation] = weakref.WeakValueDictionary()

    def suspects(self, seconds: float) -> list[Activation]:
        """The activations at which a request has waited for so long."""
        since = self._deps.gate.clock() - seconds
        crowded = (*self._deps.queues, *self._in_transition())
        return [each for each in crowded if (call := next(iter(each.waiting), None)) and 0 < call.arrived_at <= since]

    def _in_transition(self) -> dict[Activation, asyncio.Task[Any] | None]:
        """The activations that begin or end while their code may wait, with the task of it."""
        found = ((each.activation, each.task) for each in self._deps.transitions)
        return {activation: task for activation, task in found if isinstance(activation, Activation)}

    def explore(self, starts: Iterable[Waiter]) -> Explored:
        """All that these wait for, and what that waits for, as far as it is in this silo."""
        found: dict[str, Waiter] = {}
        edges: dict[str, list[str]] = {}
        remote: dict[asyncio.Future[Any], list[str]] = {}
        queue = list(starts)
        for waiter in queue:  # grows while it is read
            name = self.name(waiter)
            if name in found or len(found) >= MOST_NODES:
                continue
            found[name] = waiter
            inner, futures = self._needs(waiter)
            edges[name] = [self.name(each) for each in inner]
            queue += inner
            for future in futures:
                remote.setdefault(future, []).append(name)
        there: dict[str, list[Arrival]] = {}
        for pending in self._calls.sender.pending(remote.keys()):
            for name in remote[pending.answer]:
                there.setdefault(name, []).append(Arrival(self._deps.address, pending.link.silo, pending.id))
        waits = [self._wait(name, found[name], edges[name], there.get(name, [])) for name in found]
        return Explored(waits, found)

    def awaited_by(self, call: Invocation) -> tuple[str, ...]:
        """The calls that a running turn waits for, as `type/key.method`."""
        here, futures = self._awaited(call.task, call.holder)
        calls = (*here, *self._calls.sender.pending(futures))
        return tuple(f"{each.grain_id}.{each.method}" for each in calls if not isinstance(each, Activation))

    def arrived(self, source: SiloAddress, number: int) -> Invocation | None:
        """The request that arrived from this silo with this id, while it has no answer."""
        return self._inbound.request_from(source, number)

    def waiting(self, name: str) -> Invocation | None:
        """The request of this name, if it waits for its turn at an activation."""
        call = self._named.get(name)
        return call if call is not None and _is_waiting(call) else None

    def name(self, waiter: Waiter) -> str:
        """The name of a node, for as long as it exists."""
        if isinstance(waiter, Activation):
            return f"{waiter.activation_id:032x} {waiter.phase.name}"
        if not waiter.name:
            waiter.name = str(next(self._numbers))
            self._named[waiter.name] = waiter
        return waiter.name

    def _needs(self, waiter: Waiter) -> tuple[list[Waiter], list[asyncio.Future[Any]]]:
        """What it waits for: nodes of this silo, and futures that may be of calls to others."""
        if isinstance(waiter, Activation):
            return self._awaited(self._in_transition().get(waiter), waiter)
        if _is_waiting(waiter):
            assert isinstance(waiter.holder, Activation), "so it waits at an activation"
            blockers = waiter.holder.blockers(waiter)
            return [waiter.holder] if blockers is None else [*blockers[:MOST_BLOCKERS]], []
        return self._awaited(waiter.task, waiter.holder)

    def _awaited(
        self, task: asyncio.Task[Any] | None, holder: object
    ) -> tuple[list[Waiter], list[asyncio.Future[Any]]]:
        """The calls in this silo that a task of this activation waits for, and futures that may be of other calls.

        Who waits for the items of a generator waits for all that the generator waits for.
        """
        futures = [] if task is None else awaited_futures(task)
        if isinstance(holder, Activation):
            for future in futures:  # grows while it is read
                generator = self._deps.enumerations.behind(holder, future)
                futures += [] if generator is None else awaited_futures(generator)
        here: list[Waiter] = [call for future in futures if (call := self._calls.awaited.get(future)) is not None]
        return here, [future for future in futures if future not in self._calls.awaited]

    def _wait(self, name: str, waiter: Waiter, here: list[str], there: list[Arrival]) -> Wait:
        grain = str(waiter.grain_id)
        if isinstance(waiter, Activation):
            method = "on_activate" if waiter.phase is Phase.ACTIVATING else "on_deactivate"
            return Wait(name, grain, method, here=here, there=there)
        holder = waiter.holder
        if not (_is_waiting(waiter) and isinstance(holder, Activation)):
            return Wait(name, grain, waiter.method, here=here, there=there)
        held_back = holder.is_held_back(waiter)
        return Wait(name, grain, waiter.method, True, here, there, holder.hosted.detects, held_back)


def _is_waiting(call: Invocation) -> bool:
    return call.task is None and isinstance(call.holder, Activation) and call in call.holder.waiting
