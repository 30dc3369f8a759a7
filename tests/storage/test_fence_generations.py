"""The death of each generation of a silo is recorded in the store, not only that of the first."""

from __future__ import annotations

from grange.membership.model.member import Member, SiloStatus, make_view
from grange.storage.sets import Stamp
from grange.testing.contracts.storage_samples import ANN, fenced
from tests.storage.guard_bench import ME, NOW, a_bench, silo


async def test_the_death_of_a_later_generation_is_recorded_too() -> None:
    async with a_bench() as bench:
        for generation in (1, 2):
            dead = Member(silo(1, generation), SiloStatus.DEAD, NOW, NOW)
            bench.guards.on_view(make_view(generation, [Member(ME, SiloStatus.ACTIVE, NOW, NOW), dead]))
            await bench.storage.read(ANN, "state")
            await fenced(bench.store.inner.write(ANN, "state", b"1", None, stamp=Stamp(silo(1, generation), 1)))
