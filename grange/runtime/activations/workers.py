"""Pools of stateless workers: several activations of one grain id in one silo, outside the directory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from grange.proto.ids import GrainId, SiloAddress
from grange.runtime.activations.activation import Activation, ActivationDeps, Phase
from grange.runtime.activations.hosted import HostedType
from grange.runtime.activations.lifecycle import activate, deactivate
from grange.runtime.locator import Claims, LocalOnly
from grange.runtime.requests.invocation import Invocation


class Watches(Protocol):
    """Who is told of each worker that may one day be idle: the collector."""

    def watch(self, activation: Activation) -> None:
        """Look after it until it is gone."""
        ...


class WorkerPool:
    """The workers of one grain id. A request goes to the first idle one, else to a new one, else to the least busy."""

    def __init__(
        self,
        grain_id: GrainId,
        hosted: HostedType,
        deps: ActivationDeps,
        collector: Watches,
        empty: Callable[[WorkerPool], None],
    ) -> None:
        self.grain_id = grain_id
        self.deps = deps
        self.claims: Claims = LocalOnly(deps.here)
        self.workers: list[Activation] = []
        self._hosted = hosted
        self._collector = collector
        self._empty = empty

    def receive(self, call: Invocation) -> None:
        """One request for any of the workers."""
        serving = [worker for worker in self.workers if worker.phase <= Phase.ACTIVE]
        idle = next((worker for worker in serving if worker.idle), None)
        if idle is not None:
            idle.receive(call)
        elif len(serving) < self._hosted.options.stateless_workers:
            self._create(call)
        else:
            min(serving, key=_load).receive(call)

    def _create(self, call: Invocation) -> None:
        worker = Activation(self.grain_id, self._hosted, self, asyncio.get_running_loop().time())
        self.workers.append(worker)
        worker.receive(call)
        self.begin(worker)

    def begin(self, activation: Activation) -> None:
        """Start its beginning; there is nothing to claim."""
        self.deps.tasks.adopt(self.deps.invoker.start(activate(activation)))

    def ready(self, activation: Activation) -> None:
        """It may be idle some day."""
        self._collector.watch(activation)

    def end(self, activation: Activation) -> None:
        """Start its end."""
        self.deps.tasks.start(deactivate(activation))

    def elsewhere(self, grain_id: GrainId) -> SiloAddress | None:
        """Workers are wherever they are needed."""
        return None

    def left(self, activation: Activation) -> None:
        """Forget it; an empty pool goes too."""
        self.workers.remove(activation)
        if not self.workers:
            self._empty(self)


def _load(worker: Activation) -> int:
    return worker.mailbox.depth + len(worker.mailbox.running)
