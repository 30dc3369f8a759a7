"""The live detector: a second activation of a grain, however it came to be, is found, counted, logged and ended."""

from __future__ import annotations

import asyncio

import pytest

from grange import Grain, PersistentState
from grange.proto.ids import GrainId
from grange.runtime.activations.activation import Activation, Phase
from grange.runtime.locator import LocalOnly
from grange.silo.silo import Silo
from grange.testing.cluster import TestCluster

TWO_PERIODS = 26.0
"""Virtual seconds: two of 10 s, with their jitter and the second look."""


class Pet(Grain):
    async def name(self) -> str:
        return str(self.key)


class Score(Grain):
    def __init__(self, points: PersistentState[list[int]]) -> None:
        self.points = points

    async def add(self, number: int) -> int:
        self.points.value.append(number)
        await self.points.write()
        return sum(self.points.value)

    async def total(self) -> int:
        return sum(self.points.value)


def plant(silo: Silo, grain_id: GrainId) -> Activation:
    """An activation that believes to be its grain's one, behind the directory's back."""
    catalog = silo.catalog
    activation = Activation(grain_id, catalog.hosted[grain_id.type], catalog, asyncio.get_running_loop().time())
    catalog._targets[grain_id] = activation
    claims, catalog.claims = catalog.claims, LocalOnly(silo.address)
    catalog.start_activation(activation)
    activation.owner.deps.tasks.start(restore(silo, claims, activation))
    return activation


async def restore(silo: Silo, claims: object, activation: Activation) -> None:
    while activation.phase is Phase.ACTIVATING:
        await asyncio.sleep(0)
    silo.catalog.claims = claims  # type: ignore[assignment]


async def test_a_planted_duplicate_is_ended_within_two_periods(caplog: pytest.LogCaptureFixture) -> None:
    async with TestCluster([Pet], silos=3) as cluster:
        pets = [cluster.get_grain(Pet, str(number)) for number in range(6)]
        for pet in pets:
            await pet.name()
        stays = cluster.activation(pets[0])
        home = cluster.where(pets[0])
        assert stays is not None
        other = next(silo for silo in cluster.silos if silo is not home)
        planted = plant(other, stays.grain_id)
        await cluster.advance(TWO_PERIODS)
        assert planted.phase is Phase.GONE
        assert stays.phase is Phase.ACTIVE
        assert await pets[0].name() == "0"
        assert other.management.state().duplicates == 1
        assert sum(silo.management.state().duplicates for silo in cluster.silos) == 1
        [record] = [one for one in caplog.records if getattr(one, "event", "") == "duplicate_activation"]
        for activation, silo in ((stays, home), (planted, other)):
            assert silo is not None
            assert f"{activation.activation_id:032x} on silo {silo.address}" in record.getMessage()


async def test_the_registered_one_ends_too_if_it_keeps_state_that_the_other_may_have_written() -> None:
    """Found by the simulation (seed 29): what it remembered was older than what had been acknowledged."""
    async with TestCluster([Score], silos=3) as cluster:
        score = cluster.get_grain(Score, "ann")
        assert await score.add(1) == 1
        stays, home = cluster.activation(score), cluster.where(score)
        assert stays is not None
        other = next(silo for silo in cluster.silos if silo is not home)
        planted = plant(other, stays.grain_id)
        assert await other.get_grain(Score, "ann").add(1) == 2  # the planted one: it is nearer
        assert await score.total() == 1  # out of date
        await cluster.advance(TWO_PERIODS)
        assert planted.phase is Phase.GONE
        assert stays.phase is Phase.GONE
        assert await score.total() == 2


async def test_on_a_stable_cluster_there_is_nothing_to_find() -> None:
    async with TestCluster([Pet], silos=3) as cluster:
        for number in range(30):
            await cluster.get_grain(Pet, str(number)).name()
        await cluster.advance(60)
        for silo in cluster.silos:
            state = silo.management.state()
            assert (state.duplicates, state.repaired, state.stale) == (0, 0, 0)


async def test_an_entry_without_an_activation_does_not_keep_a_grain_from_its_callers() -> None:
    """The silo that it names is asked, claims, and replaces it; nobody waits for the detector."""
    async with TestCluster([Pet], silos=2) as cluster:
        pet = cluster.get_grain(Pet, "lost")
        await pet.name()
        home, activation = cluster.where(pet), cluster.activation(pet)
        assert home is not None
        assert activation is not None
        before = activation.address
        activation.claimed = False  # its release is "lost"
        activation.deactivate("a test")
        await cluster.advance(0.01)
        assert activation.phase is Phase.GONE
        assert before in [entry for silo in cluster.silos for entry in silo.directory.partition.entries]
        assert await pet.name() == "lost"
        entries = [entry for silo in cluster.silos for entry in silo.directory.partition.entries]
        assert [entry.same_activation(before) for entry in entries] == [False]


async def test_a_silo_that_stops_takes_its_leave_of_the_directory() -> None:
    """DIR-10: after an orderly stop its grains answer elsewhere without any hold."""
    async with TestCluster([Pet], silos=3) as cluster:
        pets = [cluster.get_grain(Pet, str(number)) for number in range(30)]
        for pet in pets:
            await pet.name()
        await cluster.stop(cluster.silos[0])
        loop = asyncio.get_running_loop()
        began = loop.time()
        for pet in pets:
            await pet.name()
        assert loop.time() - began < 0.5


async def test_after_a_kill_what_lived_elsewhere_answers_at_once_and_the_rest_within_the_hold() -> None:
    """DIR-09 in a whole cluster: counted from the view that says so."""
    async with TestCluster([Pet], silos=4) as cluster:
        pets = {number: cluster.get_grain(Pet, str(number)) for number in range(60)}
        for pet in pets.values():
            await pet.name()
        dead = cluster.silos[0]
        theirs = [number for number, pet in pets.items() if cluster.where(pet) is dead]
        await cluster.kill(dead)
        while not all(silo.view.is_dead(dead.address) for silo in cluster.silos):
            await cluster.advance(0.01)
        loop = asyncio.get_running_loop()
        seen = loop.time()
        took: dict[int, float] = {}

        async def call(number: int) -> None:
            await pets[number].name()
            took[number] = loop.time() - seen

        await asyncio.gather(*(call(number) for number in pets))
        assert theirs
        assert all(took[number] < 0.1 for number in pets if number not in theirs)
        assert all(0.5 < took[number] < 2.5 for number in theirs)
