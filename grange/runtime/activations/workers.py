"""Pools of stateless workers: several activations of one grain id in one silo, outside the directory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from grange.grains.deactivation import DeactivationCode, DeactivationReason
from grange.proto.ids import GrainId, SiloAddress
from grange.runtime.activations.activation import Activation
from grange.runtime.activations.deps import ActivationDeps
from grange.runtime.activations.held_grains import held
from grange.runtime.activations.hosted import HostedType
from grange.runtime.activations.lifecycle import activate, deactivate
from grange.runtime.activations.phase import Phase
from grange.runtime.locator import Claims, LocalOnly
from grange.runtime.requests.invocation import Invocation

TRIM_PERIOD = 2.0
"""Seconds between two looks at a pool with several workers. Those that were not needed since the last look end."""

SPARE = DeactivationReason(DeactivationCode.IDLE, "its pool had fewer requests at once than workers")


class IdleWatcher(Protocol):
    """Watches active activations and ends the idle ones; `collector.py` implements it."""

    def watch(self, activation: Activation) -> None:
        """Watch it until it is gone."""
        ...


class WorkerPool:
    """The workers of one grain id. A request goes to an idle worker, else to a new one, else to the least busy one.

    Workers beyond the most requests at once, of the last few seconds, end: a burst does not keep its memory.

    A worker that closes counts until its last turn has ended, so there are never more turns than workers. While all
    workers close, a request waits at one of them, and is handed on as soon as the last turn of one of them ends.
    """

    def __init__(
        self,
        grain_id: GrainId,
        hosted: HostedType,
        deps: ActivationDeps,
        collector: IdleWatcher,
        on_empty: Callable[[WorkerPool], None],
        is_open: Callable[[], bool],
    ) -> None:
        self.grain_id = grain_id
        self.place = 0  # in the catalog
        self.deps = deps
        self.claims: Claims = LocalOnly(deps.address)
        self.workers: list[Activation] = []
        self._hosted = hosted
        self._collector = collector
        self._on_empty = on_empty
        self._is_open = is_open  # whether new workers may be made
        self._peak = 0  # most workers that were needed at once since the last look
        self._look: asyncio.TimerHandle | None = None

    def receive(self, call: Invocation) -> None:
        """Hand one request to one of the workers."""
        counted = [worker for worker in self.workers if worker.phase <= Phase.CLOSING]
        idle = next((worker for worker in counted if worker.idle), None)
        if len(counted) > 1:
            self._peak = max(self._peak, 1 + sum(not worker.idle for worker in counted))
        if idle is not None:
            idle.receive(call)
        elif len(counted) < self._hosted.options.stateless_workers:
            self._create(call)
        else:
            min(counted, key=_load).receive(call)

    def _create(self, call: Invocation) -> None:
        if self.deps.holds.failing and (refused := held(self.deps, call.grain_id)) is not None:
            call.refuse(refused)
            return
        worker = Activation(self.grain_id, self._hosted, self, asyncio.get_running_loop().time())
        self.workers.append(worker)
        self._peak = max(self._peak, len(self.workers))
        if self._look is None and len(self.workers) > 1:
            self._look = asyncio.get_running_loop().call_later(TRIM_PERIOD, self._trim)
        worker.receive(call)
        self.start_activation(worker)

    def _trim(self) -> None:
        """End the idle workers that were not needed since the last look; those made last end first."""
        active = [worker for worker in self.workers if worker.phase is Phase.ACTIVE]
        idle = [worker for worker in active if worker.idle and worker.keep_until <= asyncio.get_running_loop().time()]
        surplus = len(active) - max(self._peak, 1)
        for worker in reversed(idle[-surplus:] if surplus > 0 else []):
            worker.figures.collected += 1
            worker.deactivate(SPARE)
        self._peak = sum(not worker.idle for worker in active)
        more = len(active) > 1
        self._look = asyncio.get_running_loop().call_later(TRIM_PERIOD, self._trim) if more else None

    def start_activation(self, activation: Activation) -> None:
        """Start to activate it. The claim is local: the directory holds no workers."""
        self.deps.tasks.adopt(self.deps.eager.start(activate(activation)))

    def on_active(self, activation: Activation) -> None:
        """Have the collector watch it."""
        self._collector.watch(activation)

    def start_deactivation(self, activation: Activation) -> None:
        """Start to deactivate it. It runs no turn any more, so a new worker may take its place for what waits."""
        self.deps.tasks.start(deactivate(activation))
        if self._is_open():
            waiting = [call for worker in self.workers if worker.phase > Phase.ACTIVE for call in worker.take_waiting()]
            for call in waiting:
                self.receive(call)

    def next_silo(self, grain_id: GrainId) -> SiloAddress | None:
        """No hint: any silo that hosts the class can run workers."""
        return None

    def continue_here(self, activation: Activation, memory: bytes) -> bool:
        """Never: workers do not move."""
        return False

    def on_gone(self, activation: Activation) -> None:
        """Remove it; report the pool when it is empty."""
        self.workers.remove(activation)
        if not self.workers:
            if self._look is not None:
                self._look.cancel()
            self._on_empty(self)


def _load(worker: Activation) -> tuple[bool, int]:
    """Order of preference: workers that stay, then by the number of requests."""
    return worker.phase > Phase.ACTIVE, len(worker.waiting) + len(worker.running)
