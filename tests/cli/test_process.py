"""A silo's process ends, whoever asked it to and however its silo behaves."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from grange.cli import process
from grange.cli.process import DRAIN_MARGIN, StopSignals
from grange.errors import DeclaredDead


class Reluctant:
    """A silo that is drained from elsewhere, or declared dead, and does not stop."""

    def __init__(self, dead: bool) -> None:
        self._dead = dead
        self.stops = asyncio.Event()

    def definition(self, **_: Any) -> Any:
        return SimpleNamespace(config=SimpleNamespace(drain_timeout=30.0))

    async def start(self, **_: Any) -> None:
        """Nothing to start."""

    async def asked_to_stop(self) -> None:
        await asyncio.sleep(10**6 if self._dead else 0)

    async def declared_dead(self) -> DeclaredDead:
        await asyncio.sleep(0 if self._dead else 10**6)
        return DeclaredDead("given up")

    async def stop(self) -> None:
        self.stops.set()
        await asyncio.Event().wait()

    kill = stop


@pytest.mark.parametrize("dead", [False, True])
async def test_a_silo_that_no_signal_stops_has_its_time_too(dead: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """`grange drain` and a death in the table end it as SIGTERM does: a turn that blocks the loop cannot keep it."""
    forced: list[float] = []
    monkeypatch.setattr(process, "kill_after", lambda seconds, code, why: forced.append(seconds))
    silo: Any = Reluctant(dead)
    serving = asyncio.create_task(process._serve(silo, {}, StopSignals(), lambda _: None))
    await asyncio.wait_for(silo.stops.wait(), 5)
    assert forced == [30.0 + DRAIN_MARGIN]
    serving.cancel()
    await asyncio.wait([serving])
