"""Services are set up for each silo before its grains, and closed after its last activation."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import svcs

from grange import ConfigurationError, Grain, NoSuchGrain
from grange.errors import ServicesUnavailable
from grange.grains.deactivation import DeactivationReason
from grange.testing import TestCluster


class Pool:
    """Stands for a pool of connections, which needs an event loop to open and to close."""

    def __init__(self, log: list[str]) -> None:
        self.log = log
        self.open = False

    async def __aenter__(self) -> Pool:
        await asyncio.sleep(1)
        self.open = True
        self.log.append("opened")
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.sleep(1)
        self.open = False
        self.log.append("closed")


class Reader(Grain):
    def __init__(self, pool: Pool) -> None:
        self.pool = pool

    async def read(self) -> int:
        assert self.pool.open
        return id(self.pool)

    async def on_deactivate(self, reason: DeactivationReason) -> None:
        self.pool.log.append("deactivated" if self.pool.open else "deactivated too late")


class Services:
    def __init__(self) -> None:
        self.log: list[str] = []

    @asynccontextmanager
    async def set_up(self, registry: svcs.Registry) -> AsyncGenerator[None]:
        async with Pool(self.log) as pool:
            registry.register_value(Pool, pool)
            yield


async def test_each_silo_has_its_own_services() -> None:
    services = Services()
    async with TestCluster(grains=[Reader], silos=2, services=services.set_up) as cluster:
        pools = {await silo.get_grain(Reader, f"{n}").read() for silo in cluster.silos for n in range(8)}
        assert len(pools) == 2
    assert services.log == ["opened"] * 2 + ["closed"] * 2


async def test_services_close_after_the_last_activation() -> None:
    services = Services()
    async with TestCluster(grains=[Reader], silos=2, services=services.set_up) as cluster:
        reader = cluster.get_grain(Reader, "a")
        await reader.read()
        silo = cluster.where(reader)
        assert silo is not None
        await cluster.stop(silo)
        assert services.log == ["opened", "opened", "deactivated", "closed"]


async def test_what_a_registry_was_told_to_close_is_closed_with_it() -> None:
    log: list[str] = []

    async def close() -> None:
        log.append("registry closed")

    @asynccontextmanager
    async def set_up(registry: svcs.Registry) -> AsyncGenerator[None]:
        registry.register_value(Pool, Pool(log), on_registry_close=close)
        yield

    async with TestCluster(grains=[Reader], silos=1, services=set_up):
        assert log == []
    assert log == ["registry closed"]


async def test_a_registry_that_is_given_stays_open() -> None:
    log: list[str] = []
    async with svcs.Registry() as registry:
        registry.register_value(Pool, Pool(log), on_registry_close=lambda: log.append("closed"))
        async with TestCluster(grains=[Reader], silos=2, services=registry):
            pass
        assert log == []
    assert log == ["closed"]


async def test_a_set_up_that_fails_stops_the_start_and_closes_what_it_opened() -> None:
    services = Services()

    @asynccontextmanager
    async def failing(registry: svcs.Registry) -> AsyncGenerator[None]:
        async with services.set_up(registry):
            raise OSError("no route to the price service")
            yield

    with pytest.raises(ServicesUnavailable, match=r"services= .*failing': OSError: no route to the price service"):
        async with TestCluster(grains=[Reader], silos=1, services=failing):
            pass
    assert services.log == ["opened", "closed"]


async def test_a_function_that_is_no_context_manager_is_refused() -> None:
    async def wrong(registry: svcs.Registry) -> None:
        registry.register_value(Pool, Pool([]))

    with pytest.raises(ConfigurationError, match=r"asynccontextmanager.*wrong' returned"):
        async with TestCluster(grains=[Reader], silos=1, services=wrong):  # type: ignore[arg-type]
            pass


async def test_a_class_or_a_function_of_other_arguments_is_refused() -> None:
    class Prices: ...

    wrong: Any
    for wrong in (Prices, lambda: None, lambda one, two: None):
        with pytest.raises(ConfigurationError, match=r"services= is .*(Prices|lambda).* does not take it: "):
            async with TestCluster(grains=[Reader], silos=1, services=wrong):
                pass


def test_errors_of_timers_and_one_way_calls_show_where_logging_is_not_set_up() -> None:
    program = """
import asyncio
from grange import Grain, one_way
from grange.testing import TestCluster

class Clock(Grain):
    async def start(self) -> None:
        self.start_timer(self._tick, 1)
    async def _tick(self) -> None:
        raise ValueError("broken tick")
    @one_way
    async def report(self) -> None:
        raise ValueError("broken report")

async def main() -> None:
    async with TestCluster(grains=[Clock], silos=1) as cluster:
        await cluster.get_grain(Clock, "a").start()
        await cluster.get_grain(Clock, "a").report()
        await cluster.advance(2)

asyncio.run(main())
"""
    shown = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    ).stderr
    assert "timer of clock/a failed" in shown
    assert "ValueError: broken tick" in shown
    assert "ValueError: broken report" in shown
    assert not logging.getLogger("grange").handlers


class Connection:
    """A service of one activation, from a factory that closes it."""


class Holder(Grain):
    def __init__(self, connection: Connection) -> None: ...

    async def hold(self) -> None: ...

    async def hold_long(self) -> None:
        await asyncio.sleep(1000)


@pytest.mark.parametrize("end", ["kill", "stop", "leave"])
async def test_the_services_of_grains_are_closed_with_their_silo(end: str) -> None:
    """Also of a killed silo, where a service may see an error. They were left to the garbage collector."""
    log: list[str] = []

    async def connect() -> AsyncGenerator[Connection]:
        log.append("opened")
        try:
            yield Connection()
            log.append("committed")
        finally:
            log.append("closed")

    registry = svcs.Registry()
    registry.register_factory(Connection, connect, suppress_context_exit=False)
    async with TestCluster(grains=[Holder], silos=1, services=registry) as cluster:
        await cluster.get_grain(Holder, "a").hold()
        holding = asyncio.create_task(cluster.get_grain(Holder, "b").hold_long())
        await cluster.get_grain(Holder, "c").hold()
        if end != "leave":
            await (cluster.kill if end == "kill" else cluster.stop)(cluster.silos[0])
            assert log.count("closed") == 3
    await asyncio.wait([holding])
    assert (log.count("opened"), log.count("closed")) == (3, 3)
    assert log.count("committed") == (3 if end == "stop" else 0)


class Numbers:
    """A singleton: numbers for what is made after it."""

    def __init__(self) -> None:
        self.last = 0


class Scoped:
    """A service with a number of its own."""

    def __init__(self, number: int) -> None:
        self.number = number


class Reading:
    """Another service, made with the scoped one of the same activation."""

    def __init__(self, scoped: Scoped) -> None:
        self.scoped = scoped


class User(Grain, reentrant=True):
    def __init__(self, numbers: Numbers, scoped: Scoped, reading: Reading) -> None:
        self.numbers, self.scoped, self.reading = numbers, scoped, reading

    async def use(self) -> tuple[int, int, bool]:
        await asyncio.sleep(0.01)
        return id(self.numbers), self.scoped.number, self.scoped is self.reading.scoped


async def test_singletons_are_shared_and_factories_make_one_service_per_activation() -> None:
    """HST-04: also under concurrent first calls, and also between the services of one activation."""
    numbers = Numbers()

    async def scoped(container: svcs.Container) -> Scoped:
        (await container.aget(Numbers)).last += 1
        mine = numbers.last
        await asyncio.sleep(0.01)
        return Scoped(mine)

    async def reading(container: svcs.Container) -> Reading:
        return Reading(await container.aget(Scoped))

    registry = svcs.Registry()
    registry.register_value(Numbers, numbers)
    registry.register_factory(Scoped, scoped)
    registry.register_factory(Reading, reading)
    async with TestCluster(grains=[User], silos=2, services=registry) as cluster:
        calls = [cluster.get_grain(User, f"{number % 10}").use() for number in range(50)]
        answers = await asyncio.gather(*calls)
    assert {shared for shared, _, _ in answers} == {id(numbers)}
    assert all(same for _, _, same in answers)
    assert len({number for _, number, _ in answers}) == 10
    assert all(answers[number] == answers[number % 10] for number in range(50))


async def test_a_grain_in_the_registry_is_ignored() -> None:
    """HST-04: the silo builds its grains itself, from the classes that it is given."""
    log: list[str] = []
    by_hand = Reader(Pool(log))
    registry = svcs.Registry()
    registry.register_value(Reader, by_hand)
    registry.register_value(Pool, pool := Pool(log))
    pool.open = True
    async with TestCluster(grains=[Reader], silos=1, services=registry) as cluster:
        assert await cluster.get_grain(Reader, "a").read() == id(pool)
    async with TestCluster(grains=[User], silos=1, services=_users()) as cluster:
        with pytest.raises(NoSuchGrain):
            await cluster.get_grain(Reader, "a").read()


def _users() -> svcs.Registry:
    """All that a user needs, and a reader that is no grain of the silo."""
    registry = svcs.Registry()
    for service in (Numbers(), scoped := Scoped(1), Reading(scoped), Reader(Pool([]))):
        registry.register_value(type(service), service)
    return registry
