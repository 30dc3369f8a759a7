"""The rendered Deployment, acted out: real silos in network namespaces, real stores, probes, rolls, scaling.

What a real Kubernetes adds is not played: images, the scheduler, the network policy, limits of memory. Each test leaves
three ready pods of a good version.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from tests.deploy.kubelet.callers import Callers, callers
from tests.deploy.kubelet.cluster import Cluster, cluster
from tests.deploy.rendered import by_helm
from tests.processes.faults.network import Namespaces, missing, network
from tests.processes.faults.stores import Postgres, Redis

pytestmark = [pytest.mark.processes, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(400)]

CALLS = 20_000
APP = "tests.deploy.kubelet.app:silo"


def deployment(version: str, replicas: int = 3, app: str = APP) -> dict[str, Any]:
    """The Deployment of the chart, as Helm renders it."""
    values = {"app": app, "cluster": "pods", "replicas": replicas, "drainTimeout": 30, "env": {"APP_VERSION": version}}
    return by_helm(values)["deployment"]


@dataclass(frozen=True)
class Stage:
    cluster: Cluster
    callers: Callers


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """Three ready pods of version 1, and a client that has reached them by the Service."""
    reason = missing()
    if reason:
        pytest.skip(f"NOT PLAYED, no network namespaces: {reason}")
    async with network(()) as net, AsyncExitStack() as parts:
        assert isinstance(net, Namespaces)
        redis, postgres = Redis(net), Postgres(net)
        for server in (redis, postgres):
            parts.push_async_callback(asyncio.to_thread, server.close)
        await asyncio.gather(*(asyncio.to_thread(server.start) for server in (redis, postgres)))
        secrets = {
            "grange-stores": {"membership": redis.url, "storage": postgres.url},
            "grange-tokens": {role: f"token-of-the-{role}-of-the-pods" for role in ("admin", "viewer")},
        }
        pods = await parts.enter_async_context(cluster(net, tmp_path_factory.mktemp("pods"), secrets))
        pods.apply(deployment("1"))
        await pods.rolled_out()
        made = await parts.enter_async_context(callers(net, pods.service.address, "pods"))
        yield Stage(pods, made)


async def test_a_pod_with_a_blocked_loop_is_not_restarted(stage: Stage) -> None:
    """A turn holds the loop for longer than a liveness period. The admin thread answers the probes meanwhile."""
    pods = {pod.spec.name: pod for pod in stage.cluster.pods}
    seconds = 1.5 * next(iter(pods.values())).spec.liveness.period
    busy = await stage.callers.ask(do="compute", key="busy", seconds=seconds)
    pod = pods[busy["pod"]]
    asked = pod.liveness.asked
    await stage.cluster.until(lambda: pod.liveness.asked > asked, "liveness is asked again")
    assert pod.restarts == 0
    assert pod.liveness.passes
    assert not pod.terminating
    assert stage.cluster.current() == stage.cluster.pods
    await stage.cluster.rolled_out()


async def test_a_version_that_crashes_stops_the_roll(stage: Stage) -> None:
    cluster = stage.cluster
    serving = list(cluster.pods)
    cluster.apply(deployment("2", app="tests.deploy.kubelet.broken:silo"))
    await cluster.until(lambda: any(pod.restarts >= 2 for pod in cluster.current()), "the new pod crashes in a loop")
    (crashing,) = cluster.current()
    assert all(code != 0 for code in crashing.codes)
    assert "this version does not start" in crashing.log
    assert cluster.ready() == serving
    assert (await stage.callers.ask(do="versions"))["versions"] == ["1"]
    cluster.apply(deployment("1"))  # kubectl rollout undo
    await cluster.until(lambda: crashing not in cluster.pods, "the crashing pod is gone")
    await cluster.rolled_out()


async def test_a_roll_under_load_fails_no_call(stage: Stage) -> None:
    cluster = stage.cluster
    old = list(cluster.pods)
    before = await stage.callers.ask(do="call")
    quiet = await more_calls(stage, before["calls"] + CALLS // 5)
    await stage.callers.ask(do="forget")
    began = time.monotonic()
    cluster.apply(deployment("3"))
    least = len(cluster.ready())
    rolling = asyncio.create_task(cluster.rolled_out())
    while not rolling.done():
        least = min(least, len(cluster.ready()))
        await asyncio.sleep(0.1)
    await rolling
    took = time.monotonic() - began
    after = await more_calls(stage, CALLS)
    await stage.callers.ask(do="pause")
    print(f"\na roll of {len(old)} pods took {took:.1f} s; quiet {quiet}; rolling {after}; least ready pods {least}")
    assert after["failed"] == 0, after["errors"]
    assert [pod.codes for pod in old] == [[0]] * 3, "each old pod drained and ended in order"
    assert all(pod.restarts == 0 for pod in cluster.pods)
    assert (await stage.callers.ask(do="versions"))["versions"] == ["3"]


async def test_more_and_fewer_pods_fail_no_call(stage: Stage) -> None:
    """2 → 6 → 2, as an autoscaler might."""
    cluster = stage.cluster
    failed = (await stage.callers.ask(do="call"))["failed"]
    for replicas in (2, 6, 2):
        cluster.apply(deployment("3", replicas))
        await cluster.rolled_out()
        now = await stage.callers.ask(do="call")
        await more_calls(stage, now["calls"] + 500)
    assert all(code == 0 for pod in cluster.past[-4:] for code in pod.codes)
    cluster.apply(deployment("3", 3))
    await cluster.rolled_out()
    end = await stage.callers.end()
    print(f"\nscaling 2, 6, 2: {end}")
    assert end["failed"] == failed, end["errors"]
    assert end["lost"] == {}


async def more_calls(stage: Stage, calls: int) -> dict[str, Any]:
    """Wait until this many calls have ended; returns the figures."""
    while (now := await stage.callers.ask(do="call"))["calls"] < calls:
        await asyncio.sleep(0.2)
    return now
