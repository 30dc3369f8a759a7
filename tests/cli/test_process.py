"""The process of a silo exits within its time, also if the silo does not stop."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from grange.cli import process
from grange.cli.process import DRAIN_MARGIN, StopSignals
from grange.errors import DeclaredDead
from grange.testing.cluster import KeywordConfig


class Reluctant:
    """A silo that is drained by an operator, or declared dead, and does not stop."""

    def __init__(self, dead: bool) -> None:
        self._dead = dead
        self.stops = asyncio.Event()

    def definition(self, **_: Any) -> Any:
        return SimpleNamespace(config=KeywordConfig(drain_timeout=30.0))

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
async def test_a_stop_without_a_signal_has_a_time_limit_too(dead: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for SIGTERM, the limit holds for `grange drain` and for a death in the table: a turn may block the loop."""
    forced: list[float] = []
    monkeypatch.setattr(process, "kill_after", lambda seconds, code, why: forced.append(seconds))
    silo: Any = Reluctant(dead)
    serving = asyncio.create_task(process._serve(silo, {}, StopSignals(), lambda _: None))
    await asyncio.wait_for(silo.stops.wait(), 5)
    assert forced == [30.0 + DRAIN_MARGIN]
    serving.cancel()
    await asyncio.wait([serving])
