"""Grains go on when a silo or an owner of the directory is cut off, crashes or leaves (EXT-04, EXT-05)."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass

import pytest

from grange import CallNotExecuted, CallOutcomeUnknown, Grain, PersistentState, placement_hint
from grange.silo.silo import Silo
from grange.testing import TestCluster

CUT = 1.5
"""Seconds of a cut that is healed before any silo fences itself."""


@dataclass
class Total:
    value: int = 0


class Account(Grain, placement="random"):
    """Stores each amount before it answers."""

    def __init__(self, total: PersistentState[Total]) -> None:
        self.total = total

    async def deposit(self, amount: int) -> int:
        self.total.value.value += amount
        await self.total.write()
        return self.total.value.value


def owned_by(cluster: TestCluster, owner: Silo, prefix: str) -> str:
    """A key whose registration is in this silo's slice of the directory."""
    ring = owner.directory.topology.ring
    return next(
        key
        for key in (f"{prefix}{number}" for number in range(10000))
        if ring.owner(cluster.get_grain(Account, key).id.ring_hash) == owner.address  # type: ignore[attr-defined]
    )


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_known_places_answer_while_the_owner_of_their_range_is_cut_off() -> None:
    """EXT-04: a grain without a place waits, and is answered after the cut is healed."""
    async with TestCluster([Account], silos=3) as cluster:
        host, caller, owner = cluster.silos
        known, new = (owned_by(cluster, owner, prefix) for prefix in ("known", "new"))
        with placement_hint(host.address):
            assert await caller.get_grain(Account, known).deposit(1) == 1
        for silo in (host, caller):
            cluster.partition(owner, silo)
        began = now()
        waiting = asyncio.create_task(caller.get_grain(Account, new).deposit(1))
        while now() < began + CUT:
            asked = now()
            await caller.get_grain(Account, known).deposit(1)
            assert now() - asked < 0.01
            assert not waiting.done()
            await asyncio.sleep(0.1)
        cluster.heal()
        assert await waiting == 1
        assert CUT <= now() - began <= 10


async def test_a_grain_without_a_place_gets_one_when_the_owner_of_its_range_is_dead() -> None:
    """EXT-04, EXT-05: also if the cut is never healed."""
    async with TestCluster([Account], silos=3) as cluster:
        *rest, owner = cluster.silos
        new = owned_by(cluster, owner, "new")
        for silo in rest:
            cluster.partition(owner, silo)
        began = now()
        assert await deposited(rest[0], new) == 1
        assert now() - began <= 30
        await cluster.kill(owner)


async def deposited(silo: Silo, key: str) -> int:
    """The total after one more deposit, which is repeated while it was certainly not executed."""
    while True:
        with suppress(CallNotExecuted):
            return await silo.get_grain(Account, key).deposit(1)
        await asyncio.sleep(0.1)


@pytest.mark.parametrize("end", ["kill", "stop", "cut off"])
async def test_grains_keep_their_states_when_a_silo_ends(end: str) -> None:
    """EXT-05: all answer elsewhere within 30 s, those in the ranges of the silo too, and each deposit counts once."""
    async with TestCluster([Account], silos=3) as cluster:
        *rest, lost = cluster.silos
        keys = [f"{number}" for number in range(60)]
        for key in keys:
            assert await cluster.get_grain(Account, key).deposit(1) == 1
        hosted = {activation.grain_id.key for activation in lost.catalog.activations()}
        assert hosted
        if end == "cut off":
            for silo in rest:
                cluster.partition(lost, silo)
        else:
            await (cluster.kill if end == "kill" else cluster.stop)(lost)
        began = now()
        totals = await asyncio.gather(*(deposited(rest[0], key) for key in keys), return_exceptions=True)
        unknown = {key for key, total in zip(keys, totals, strict=True) if isinstance(total, CallOutcomeUnknown)}
        assert [total for total in totals if not isinstance(total, CallOutcomeUnknown)] == [2] * (60 - len(unknown))
        assert unknown <= hosted
        assert now() - began <= 30
        for key in keys:
            assert await deposited(rest[1], key) in ({2, 3} if key in unknown else {3})
        homes = {activation.grain_id.key for silo in rest for activation in silo.catalog.activations()}
        assert homes == {*keys}
        if end == "cut off":
            await cluster.kill(lost)
