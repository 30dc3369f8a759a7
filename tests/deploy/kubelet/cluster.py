"""A cluster of one node: a Deployment whose pods are silos, the Secrets that it names, and a Service for clients."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.deploy.kubelet.pod import Pod
from tests.deploy.kubelet.pod_spec import Secrets, pod_spec
from tests.deploy.kubelet.rollout import PodFacts, Rules, next_step
from tests.deploy.kubelet.service import Service
from tests.processes.faults.network import Namespaces

STEP = 0.2
"""Seconds between two looks of the Deployment's controller at its pods."""

LIMIT = 120.0
"""Time limit in seconds of every wait; only a defect takes so long."""


class Cluster:
    """Holds the pods, makes and deletes them by the rules of a Deployment, and knows which ones are ready."""

    def __init__(self, network: Namespaces, folder: Path, secrets: Secrets) -> None:
        self._network = network
        self._folder = folder
        self._secrets = secrets
        self._tasks: dict[Pod, asyncio.Task[None]] = {}
        self._number = 0
        self._templates: list[Any] = []
        self._deployment: Mapping[str, Any] = {}
        self._controlling: asyncio.Task[None] | None = None
        self.pods: list[Pod] = []
        """All pods that exist, also those that are being deleted."""
        self.past: list[Pod] = []
        """Pods that are gone."""
        self.service = Service(network, lambda: [pod.spec.ip for pod in self.pods if pod.ready])

    def apply(self, deployment: Mapping[str, Any]) -> None:
        """`kubectl apply`: another template begins a roll, another `replicas` a change of size."""
        template = deployment["spec"]["template"]
        if template not in self._templates:
            self._templates.append(template)
        self._deployment = deployment

    @property
    def _revision(self) -> int:
        """As with a ReplicaSet, an earlier template has the pods that were made from it."""
        return self._templates.index(self._deployment["spec"]["template"]) + 1

    def current(self) -> list[Pod]:
        """Pods of the newest template that are not being deleted."""
        return [pod for pod in self.pods if pod.revision == self._revision and not pod.terminating]

    def ready(self) -> list[Pod]:
        return [pod for pod in self.pods if pod.ready]

    async def until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait until it holds; `what` says so for the error."""
        try:
            async with asyncio.timeout(LIMIT):
                while not holds():
                    if self._controlling is not None and self._controlling.done():
                        self._controlling.result()
                    await asyncio.sleep(STEP / 2)
        except TimeoutError:
            logs = "\n".join(f"--- {pod.spec.name}\n{pod.log[-3000:]}" for pod in self.pods)
            raise AssertionError(f"not within {LIMIT:g} s: {what}\n{logs}") from None

    async def rolled_out(self) -> None:
        """`kubectl rollout status`: all pods are of the newest template and ready, and the others are gone."""

        def is_complete() -> bool:
            wanted = self._deployment["spec"]["replicas"]
            crashing = [pod for pod in self.current() if pod.restarts >= 3]
            assert not crashing, crashing[0].log[-3000:]
            return len(self.pods) == wanted and sum(pod.ready for pod in self.current()) == wanted

        await self.until(is_complete, "the roll-out is complete")

    def start(self) -> asyncio.Task[None]:
        """Start the controller; its error is raised by the next wait."""
        self._controlling = asyncio.create_task(self._control())
        return self._controlling

    async def _control(self) -> None:
        """Runs until it is cancelled; raises what a pod raises."""
        while True:
            for pod in [pod for pod, task in self._tasks.items() if task.done()]:
                self._tasks.pop(pod).result()
                self.pods.remove(pod)
                self.past.append(pod)
            if self._deployment:
                self._step()
            await asyncio.sleep(STEP)

    async def close(self) -> None:
        """Kill all pods."""
        for task in self._tasks.values():
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks.values())

    def _step(self) -> None:
        spec, now = self._deployment["spec"], asyncio.get_running_loop().time()
        rolling = spec["strategy"]["rollingUpdate"]
        staying = [pod for pod in self.pods if not pod.terminating]
        facts = [
            PodFacts(
                pod.spec.name,
                pod.revision == self._revision,
                pod.ready,
                pod.ready_since is not None and now - pod.ready_since >= spec["minReadySeconds"],
            )
            for pod in staying
        ]
        step = next_step(facts, Rules(spec["replicas"], rolling["maxSurge"], rolling["maxUnavailable"]))
        for pod in staying:
            if pod.spec.name in step.delete:
                pod.delete()
        for _ in range(step.create):
            self._create()

    def _create(self) -> None:
        self._number += 1
        place = f"p{self._number}"
        name = f"{self._deployment['metadata']['name']}-{self._revision}-{place}"
        spec = pod_spec(self._deployment["spec"]["template"], name, self._network.host(place), self._secrets)
        pod = Pod(spec, self._network, place, self._folder / place, self._revision)
        self.pods.append(pod)
        self._tasks[pod] = asyncio.create_task(pod.run(), name=name)


@asynccontextmanager
async def cluster(network: Namespaces, folder: Path, secrets: Secrets) -> AsyncGenerator[Cluster]:
    """Run a cluster without a Deployment; all its pods end with the block."""
    made = Cluster(network, folder, secrets)
    controlling = made.start()
    try:
        async with made.service:
            yield made
    finally:
        controlling.cancel()
        await asyncio.wait((controlling,))
        await made.close()
    if not controlling.cancelled():
        controlling.result()
