"""A grain that raises what usually ends a program ends its own turn, and nothing else."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import svcs

from grange import ActivationFailed, CallCancelled, Grain, RemoteError, one_way
from grange.grains.deactivation import DeactivationReason
from grange.testing.cluster import TestCluster

ENDS: dict[str, type[BaseException]] = {
    "KeyboardInterrupt": KeyboardInterrupt,
    "SystemExit": SystemExit,
    "GeneratorExit": GeneratorExit,
    "CancelledError": asyncio.CancelledError,
    "BaseExceptionGroup": BaseExceptionGroup,
}


def end(name: str) -> None:
    if name == "BaseExceptionGroup":
        raise BaseExceptionGroup("several", [KeyboardInterrupt(), SystemExit(3)])
    if name in ENDS:
        raise ENDS[name]


class Bystander(Grain):
    """Lives through all of it."""

    def __init__(self) -> None:
        self.served = 0

    async def serve(self) -> int:
        self.served += 1
        return self.served

    async def wait(self, seconds: float) -> str:
        await asyncio.sleep(seconds)
        return "waited"


class Leaver(Grain):
    """Raises at once, after a suspension, in a timer, and in a one-way call."""

    async def leave(self, name: str, seconds: float = 0) -> None:
        if seconds:
            await asyncio.sleep(seconds)
        end(name)

    async def exit_program(self) -> None:
        sys.exit(5)

    async def by_timer(self, name: str) -> None:
        async def tick() -> None:
            end(name)

        self.start_timer(tick, 0.1)

    @one_way
    async def by_one_way(self, name: str) -> None:
        end(name)

    async def ping(self) -> str:
        return "pong"


class Starts(Grain):
    def __init__(self) -> None:
        end(self.key.partition("-")[2] if self.key.startswith("init") else "")

    async def on_activate(self) -> None:
        end(self.key.partition("-")[2] if self.key.startswith("activate") else "")

    async def on_deactivate(self, reason: DeactivationReason) -> None:
        end(self.key.partition("-")[2] if self.key.startswith("deactivate") else "")

    async def ping(self) -> str:
        return "pong"

    async def finish(self) -> None:
        self.deactivate_when_idle()


class Asks(Grain, may_interleave="_ask"):
    def _ask(self, method: str, args: tuple[str, ...]) -> bool:
        end(args[0] if args else "")
        return False

    async def work(self, name: str) -> None:
        raise AssertionError("it was refused")

    async def ping(self) -> str:
        return "pong"


@dataclass
class Pool:
    name: str


class Uses(Grain):
    def __init__(self, pool: Pool) -> None:
        self.pool = pool

    async def ping(self) -> str:
        return self.pool.name

    async def finish(self) -> None:
        self.deactivate_when_idle()


async def unharmed(cluster: TestCluster, waiting: asyncio.Task[str]) -> None:
    """Another grain of the same silo answers from the same memory, and its turn under way completes."""
    before = await cluster.get_grain(Bystander, "b").serve()
    await cluster.advance(15)
    assert await waiting == "waited"
    assert await cluster.get_grain(Bystander, "b").serve() == before + 1


@pytest.fixture
async def cluster() -> AsyncIterator[TestCluster]:
    registry = svcs.Registry()

    async def pool() -> AsyncIterator[Pool]:
        yield Pool("pool")
        raise SystemExit(7)

    registry.register_factory(Pool, pool)
    async with TestCluster([Bystander, Leaver, Starts, Asks, Uses], silos=1, services=registry) as cluster:
        yield cluster


@pytest.fixture
async def waiting(cluster: TestCluster) -> asyncio.Task[str]:
    return asyncio.create_task(cluster.get_grain(Bystander, "b2").wait(10))


@pytest.mark.parametrize("near", [True, False])
@pytest.mark.parametrize("seconds", [0, 1])
@pytest.mark.parametrize("name", ENDS)
async def test_raised_by_a_method(
    cluster: TestCluster, waiting: asyncio.Task[str], name: str, seconds: float, near: bool
) -> None:
    source = cluster.silos[0] if near else cluster.client
    leaver = source.get_grain(Leaver, "l")
    with pytest.raises((RemoteError, CallCancelled)) as raised:
        await leaver.leave(name, seconds)
    if name == "CancelledError":
        assert isinstance(raised.value, CallCancelled)
    else:
        assert isinstance(raised.value, RemoteError)
        assert raised.value.type_name == name
    assert await leaver.ping() == "pong"
    await unharmed(cluster, waiting)


async def test_sys_exit_ends_one_turn(cluster: TestCluster, waiting: asyncio.Task[str]) -> None:
    with pytest.raises(RemoteError, match="SystemExit: 5"):
        await cluster.get_grain(Leaver, "l").exit_program()
    await unharmed(cluster, waiting)


@pytest.mark.parametrize("name", ENDS)
async def test_raised_by_a_timer_or_a_one_way_call(
    cluster: TestCluster, waiting: asyncio.Task[str], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    leaver = cluster.get_grain(Leaver, "l")
    await leaver.by_timer(name)
    await leaver.by_one_way(name)
    await cluster.advance(1)
    assert {"timer_failed", "one_way_failed"} <= {getattr(record, "event", "") for record in caplog.records}
    assert await leaver.ping() == "pong"
    await unharmed(cluster, waiting)


@pytest.mark.parametrize("name", ENDS)
@pytest.mark.parametrize("place", ["init", "activate"])
async def test_raised_while_activating(cluster: TestCluster, waiting: asyncio.Task[str], place: str, name: str) -> None:
    with pytest.raises(ActivationFailed, match="was not executed"):
        await cluster.get_grain(Starts, f"{place}-{name}").ping()
    assert cluster.count(Starts) == 0
    await unharmed(cluster, waiting)


@pytest.mark.parametrize("name", ENDS)
async def test_raised_by_on_deactivate(cluster: TestCluster, waiting: asyncio.Task[str], name: str) -> None:
    grain = cluster.get_grain(Starts, f"deactivate-{name}")
    await grain.finish()
    await cluster.advance(1)
    assert cluster.count(Starts) == 0
    assert await grain.ping() == "pong"
    await unharmed(cluster, waiting)


@pytest.mark.parametrize("name", ENDS)
async def test_raised_by_may_interleave(cluster: TestCluster, waiting: asyncio.Task[str], name: str) -> None:
    with pytest.raises(Exception, match="may_interleave raised"):
        await cluster.get_grain(Asks, "a").work(name)
    assert await cluster.get_grain(Asks, "a").ping() == "pong"
    await unharmed(cluster, waiting)


async def test_raised_by_the_end_of_a_service(
    cluster: TestCluster, waiting: asyncio.Task[str], caplog: pytest.LogCaptureFixture
) -> None:
    uses = cluster.get_grain(Uses, "u")
    for _ in range(2):
        assert await uses.ping() == "pool"
        await uses.finish()
        await cluster.advance(1)
        assert cluster.count(Uses) == 0
    assert caplog.text.count("closing the state failed") == 2
    await unharmed(cluster, waiting)
