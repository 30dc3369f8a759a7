"""Asyncio's promises hold within a process, all other orders are drawn, and a paused process runs nothing."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from typing import Any

import pytest

from grange.testing.simulation.loop import MAX_LATENESS, Process, SimulatedLoop, Stalled


def run(main: Coroutine[Any, Any, Any], loop: SimulatedLoop) -> Any:
    try:
        return loop.run_until_complete(main)
    finally:
        loop.close()


def fresh(seed: int = 1) -> SimulatedLoop:
    return SimulatedLoop(random.Random(seed))


def test_call_soon_keeps_its_order() -> None:
    loop, ran = fresh(), list[int]()

    async def main() -> None:
        for number in range(100):
            loop.call_soon(ran.append, number)
        await asyncio.sleep(1)

    run(main(), loop)
    assert ran == list(range(100))


def test_timers_run_in_order_of_time_never_early_and_little_late() -> None:
    loop, ran = fresh(), list[tuple[int, float]]()
    rng = random.Random(3)
    dues = [rng.uniform(0, 0.01) for _ in range(200)]

    def record(number: int) -> None:
        ran.append((number, loop.time()))

    async def main() -> None:
        for number, due in enumerate(dues):
            loop.call_at(due, record, number)
        await asyncio.sleep(1)

    run(main(), loop)
    assert [number for number, _ in ran] == sorted(range(200), key=lambda number: dues[number])
    assert all(0 <= at - dues[number] <= MAX_LATENESS for number, at in ran)


def test_timers_of_one_instant_and_of_several_processes_run_in_a_drawn_order() -> None:
    def orders(seed: int) -> str:
        loop, ran = fresh(seed), list[str]()

        async def main() -> None:
            for name in "abcdef":
                with loop.within(Process(name)):
                    loop.call_at(1.0, ran.append, name)
            for name in "uvwxyz":
                loop.call_at(2.0, ran.append, name)
            await asyncio.sleep(3)

        run(main(), loop)
        return "".join(ran)

    assert orders(5) == orders(5)
    assert len({orders(seed)[:6] for seed in range(10)}) > 5
    assert len({orders(seed)[6:] for seed in range(10)}) > 5


def test_a_paused_process_runs_nothing_and_resumes_in_order() -> None:
    loop, ran = fresh(), list[tuple[str, int, int]]()
    silo = Process("silo")

    async def tick(name: str) -> None:
        for number in range(4):
            await asyncio.sleep(1)
            ran.append((name, number, int(loop.time())))

    async def main() -> None:
        with loop.within(silo):
            inside = asyncio.create_task(tick("inside"))
        outside = asyncio.create_task(tick("outside"))
        await asyncio.sleep(1.5)
        loop.pause(silo)
        await asyncio.sleep(5)
        loop.resume(silo)
        await asyncio.gather(inside, outside)

    run(main(), loop)
    assert [each for each in ran if each[0] == "outside"] == [("outside", n, n + 1) for n in range(4)]
    assert [each[2] for each in ran if each[0] == "inside"] == [1, 6, 7, 8]


def test_tasks_belong_to_the_process_that_started_them_not_to_the_one_that_wakes_them() -> None:
    loop, silo, seen = fresh(), Process("silo"), list[str]()

    async def inside(woken: asyncio.Future[None]) -> None:
        await woken
        seen.append(loop.process.name)
        await asyncio.create_task(child())

    async def child() -> None:
        await asyncio.sleep(1)
        seen.append(loop.process.name)

    async def main() -> None:
        woken = loop.create_future()
        with loop.within(silo):
            task = asyncio.create_task(inside(woken))
        await asyncio.sleep(1)
        woken.set_result(None)
        await task
        seen.append(loop.process.name)

    run(main(), loop)
    assert seen == ["silo", "silo", "harness"]


def test_a_set_of_tasks_has_the_same_order_in_every_run() -> None:
    def order() -> list[str]:
        async def main() -> list[str]:
            tasks = {asyncio.create_task(asyncio.sleep(1), name=str(number)) for number in range(50)}
            names = [task.get_name() for task in tasks]
            await asyncio.wait(tasks)
            return names

        keep.append([object() for _ in range(17)])  # so that addresses differ between the runs
        return list(run(main(), fresh()))

    keep: list[list[object]] = []
    assert order() == order()


def test_a_simulation_that_cannot_continue_raises() -> None:
    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Stalled, match="cannot continue"):
        run(main(), fresh())


def test_threads_are_refused() -> None:
    with pytest.raises(RuntimeError, match="thread"):
        run(asyncio.to_thread(print), fresh())
