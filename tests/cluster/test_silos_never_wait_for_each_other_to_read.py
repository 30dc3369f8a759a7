"""Requests wait while answers are unread; answers wait for nothing. So two silos that ask each other always end."""

from __future__ import annotations

import asyncio

from grange import Grain
from grange.testing.cluster import TestCluster

SIZE = 100_000


class Big(Grain):
    async def big(self) -> bytes:
        await asyncio.sleep(0.01)
        return bytes(SIZE)


class Asker(Grain):
    async def ask(self, number: int) -> int:
        answers = await asyncio.gather(*(self.get_grain(Big, f"k{each}").big() for each in range(number)))
        return sum(map(len, answers))


async def test_silos_that_ask_each_other_for_more_than_their_queues_hold() -> None:
    """Each side has many answers to write while the other one does; the limits are those of a single answer."""
    limits = {"transport": {"queue_bytes": SIZE}, "runtime": {"answer_bytes": 2 * SIZE}}
    async with TestCluster([Big, Asker], silos=2, **limits) as cluster:
        askers = [cluster.get_grain(Asker, f"a{number}") for number in range(8)]
        sums = await asyncio.gather(*(asker.ask(50) for asker in askers))
        assert {cluster.where(asker) for asker in askers} == set(cluster.silos)
        assert sums == [50 * SIZE] * 8
