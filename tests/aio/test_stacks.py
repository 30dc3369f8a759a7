"""Stacks begin at the user's own code."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from grange import Grain
from grange.aio.stacks import blocked_stack, frames_of, in_debugger, line_of, waiting_stack
from grange.grains.deactivation import DeactivationReason
from grange.runtime.activations.running_code import code_of_grain
from grange.testing.cluster import TestCluster

seen: list[str] = []
named: list[tuple[str, str]] = []
entered: list[Callable[[], None]] = []


def helper() -> None:
    seen.append(blocked_stack(threading.get_ident()))
    frames = frames_of(threading.get_ident())
    found = code_of_grain(frames)
    named.append(("" if found is None else f"{found[0]}.{found[1]}", line_of(frames)))


class Walker(Grain):
    async def work(self) -> None:
        helper()

    async def work_in_a_task(self) -> None:
        await asyncio.create_task(self._part())

    async def pass_on(self) -> None:
        await self.get_grain(Walker, "other").work()

    async def on_deactivate(self, reason: DeactivationReason) -> None:
        helper()

    async def by_timer(self) -> None:
        self.start_timer(self._part, 1)

    async def hang(self) -> None:
        entered[0]()
        await self._hang_deeper()

    async def finish(self) -> None:
        self.deactivate_when_idle()

    async def _part(self) -> None:
        helper()

    async def _hang_deeper(self) -> None:
        await asyncio.Event().wait()


def functions(stack: str) -> list[str]:
    """The names of the functions, outermost first."""
    return [line.rpartition(" in ")[2] for line in stack.splitlines() if line.startswith("  File ")]


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("work", ["work", "helper"]),
        ("pass_on", ["work", "helper"]),
        ("work_in_a_task", ["_part", "helper"]),
        ("by_timer", ["_part", "helper"]),
        ("finish", ["on_deactivate", "helper"]),
    ],
)
async def test_of_a_thread_that_runs_a_grain(method: str, expected: list[str]) -> None:
    seen.clear()
    async with TestCluster([Walker], silos=1) as cluster:
        await getattr(cluster.silos[0].get_grain(Walker, "a"), method)()
        await cluster.advance(5)
    assert functions(seen[0])[: len(expected)] == expected


@pytest.mark.parametrize(
    ("method", "name", "function"),
    [
        ("work", "walker/a.work", "work"),
        ("pass_on", "walker/other.work", "work"),
        ("by_timer", "walker/a.(timer)", "_part"),
        ("finish", "walker/a.deactivate", "on_deactivate"),
        ("work_in_a_task", "", "_part"),
    ],
)
async def test_the_grain_and_its_line_are_named(method: str, name: str, function: str) -> None:
    """BLK-09: of a turn inside another one, the inner one."""
    named.clear()
    async with TestCluster([Walker], silos=1) as cluster:
        await getattr(cluster.silos[0].get_grain(Walker, "a"), method)()
        await cluster.advance(5)
    grain, line = named[0]
    assert grain == name
    assert line.startswith(f'File "{__file__}", line ')
    assert line.endswith(f" in {function}")


async def test_of_a_turn_that_waits() -> None:
    seen.clear()
    reached = asyncio.Event()
    entered[:] = [reached.set]
    async with TestCluster([Walker], silos=1) as cluster:
        call = asyncio.create_task(cluster.silos[0].get_grain(Walker, "a").hang())
        await reached.wait()
        activation = next(cluster.silos[0].catalog.activations())
        (turn,) = activation.running
        assert functions(waiting_stack(turn.task)) == ["hang", "_hang_deeper", "wait"]  # type: ignore[attr-defined]
        call.cancel()
        await asyncio.wait([call])


async def test_without_user_code_the_whole_stack_is_shown() -> None:
    waiting = asyncio.create_task(asyncio.Event().wait())
    await asyncio.sleep(0)
    assert functions(waiting_stack(waiting)) == ["wait"]
    waiting.cancel()
    await asyncio.wait([waiting])


def test_of_a_thread_that_has_ended() -> None:
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()
    assert blocked_stack(thread.ident or 0) == "  the stack is not available"


def test_a_thread_in_a_debugger() -> None:
    """The frame of `pdb` is enough: it waits for a person."""
    assert not in_debugger(threading.get_ident())
    names: dict[str, Any] = {"__name__": "pdb", "ask": lambda: in_debugger(threading.get_ident())}
    exec("def interaction(): return ask()", names)
    assert names["interaction"]()
