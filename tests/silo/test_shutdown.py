"""The stop of a silo: a part that hangs does not block the others."""

from __future__ import annotations

import asyncio
import logging

import pytest

from grange import Grain
from grange.membership.agent import MembershipAgent
from grange.testing import TestCluster


class Hello(Grain):
    async def say(self) -> str:
        return f"hello {self.key}"


async def test_a_part_that_never_ends_does_not_keep_the_silo_from_stopping(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with TestCluster(grains=[Hello], silos=2) as cluster:
        await cluster.get_grain(Hello, "ann").say()
        stop = MembershipAgent.stop

        async def hang(agent: MembershipAgent) -> None:
            await stop(agent)
            await asyncio.Event().wait()

        monkeypatch.setattr(MembershipAgent, "stop", hang)
        with caplog.at_level(logging.INFO, "grange.silo"):
            await cluster.stop(cluster.silos[0])
        events = [getattr(record, "event", "") for record in caplog.records]
        assert "part_would_not_end" in events
        assert events[-1] == "silo_stopped"
        assert await cluster.get_grain(Hello, "ann").say() == "hello ann"


async def test_an_activation_that_ignores_its_cancellation_is_gone_after_the_stop() -> None:
    """Its grain may run on another silo by then, so it starts no turn even when its code ends at last."""
    release = asyncio.Event()
    turns: list[str] = []

    class Stubborn(Grain):
        async def on_activate(self) -> None:
            while str(self._grange.owner.deps.address) == str(stopped.address) and not release.is_set():  # type: ignore[attr-defined]
                try:
                    await release.wait()
                except asyncio.CancelledError:
                    continue

        async def where(self) -> str:
            turns.append(str(self._grange.owner.deps.address))  # type: ignore[attr-defined]
            return turns[-1]

    async with TestCluster(grains=[Stubborn], silos=2, drain_timeout=1) as cluster:
        stopped, other = cluster.silos
        calls = [asyncio.ensure_future(other.get_grain(Stubborn, str(number)).where()) for number in range(10)]
        await cluster.advance(0.1)
        activations = list(stopped.catalog.activations())
        await cluster.stop(stopped)
        left = list(stopped.catalog.activations())
        release.set()  # before any assertion: no loop can close over a task that ignores its cancellation
        await asyncio.gather(*calls, return_exceptions=True)
        await cluster.advance(1)
        assert activations
        assert left == []
        assert set(turns) == {str(other.address)}
