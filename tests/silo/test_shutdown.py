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
