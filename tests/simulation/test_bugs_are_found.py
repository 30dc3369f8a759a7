"""A bug put into the runtime is found by a few seeds, and by the checker that it concerns."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from grange.errors import SiloUnavailable
from grange.storage.state import PersistentState
from grange.testing import Simulation


def invariants_broken(seeds: int) -> set[str]:
    found: set[str] = set()
    for seed in range(1, seeds + 1):
        found |= {violation.invariant for violation in Simulation(seed, minutes=4, calm=6).run().violations}
    return found


def test_a_call_of_unknown_outcome_that_is_repeated_is_made_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("grange.runtime.sender.ConnectionLost", SiloUnavailable)
    assert {"I1", "I8"} & invariants_broken(3)


def test_a_write_that_is_acknowledged_before_it_is_stored_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    write = PersistentState[Any].write
    writes: list[asyncio.Task[None]] = []

    async def too_early(self: PersistentState[Any]) -> None:
        writes.append(asyncio.get_running_loop().create_task(write(self)))
        writes[-1].add_done_callback(lambda task: task.cancelled() or task.exception())

    monkeypatch.setattr(PersistentState, "write", too_early)
    assert "I1" in invariants_broken(4)
