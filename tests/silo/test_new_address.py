"""A silo that starts again on its endpoint joins with any clock, and its writes are accepted."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from grange import Grain, PersistentState, clock
from grange.errors import InconsistentStateError
from grange.membership.model.member import SiloStatus
from grange.membership.providers.memory import MemoryMembershipTable
from grange.membership.providers.sqlite import SqliteMembershipTable
from grange.proto.ids import GrainId, SiloAddress
from grange.silo import Silo
from grange.silo.new_address import new_address
from grange.storage.sets import Stamp
from grange.storage.stores.sqlite import SqliteStorage
from tests.membership.cluster import member
from tests.storage.faults import FaultyStorage

NOW = 1_795_886_966_554
HOUR = 3_600_000
SET = [-3 * HOUR, -HOUR, -1, 0, 1]
"""Milliseconds by which the clock of the second start is ahead of the first one's."""

Set = Callable[[int], None]


class Total(Grain, name="total"):
    def __init__(self, state: PersistentState[int]) -> None:
        self.state = state

    async def add(self) -> int:
        self.state.value += 1
        await self.state.write()
        return self.state.value


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> Set:
    """Set what the machine's clock gives as the generation."""

    def set_to(generation: int) -> None:
        monkeypatch.setattr(clock, "start_generation", lambda: generation)

    return set_to


@asynccontextmanager
async def running(data: Path, port: int = 0, **options: Any) -> AsyncGenerator[Silo]:
    async with Silo(grains=[Total], port=port, gateway_port=0, data=str(data), **options) as silo:
        yield silo


@pytest.mark.parametrize("moved", SET)
@pytest.mark.parametrize("is_killed", [False, True])
async def test_a_silo_joins_after_its_clock_was_set(
    tmp_path: Path, set_clock: Set, moved: int, is_killed: bool
) -> None:
    """After a stop in order and after a kill; in the same millisecond, too. Acknowledged writes are there."""
    set_clock(NOW)
    async with running(tmp_path) as first:
        assert await first.get_grain(Total, "a").add() == 1
        if is_killed:
            await first.kill()
    set_clock(NOW + moved)
    async with running(tmp_path, first.address.port) as second:
        assert second.address == SiloAddress("127.0.0.1", first.address.port, max(NOW + moved, NOW + 1))
        assert await second.get_grain(Total, "a").add() == 2
        rows = {each.address: each.status for each in second.view.members}
        assert rows == {first.address: SiloStatus.DEAD, second.address: SiloStatus.ACTIVE}


async def test_a_clock_that_was_hours_ahead_once_stops_no_later_start(tmp_path: Path, set_clock: Set) -> None:
    """Each start has a higher generation than the one before."""
    found, port = list[int](), 0
    for generation in (NOW, NOW + 5 * HOUR, NOW + 1, NOW + 2, 0):
        set_clock(generation)
        async with running(tmp_path, port) as silo:
            port = silo.address.port
            found.append(silo.address.generation)
            assert await silo.get_grain(Total, "a").add() == len(found)
    assert found == [NOW, *(NOW + 5 * HOUR + number for number in range(4))]


async def test_its_writes_are_accepted_although_its_past_is_recorded_as_dead(tmp_path: Path, set_clock: Set) -> None:
    """The membership table is new; the storage remembers the death of a higher generation."""
    set_clock(NOW)
    async with running(tmp_path) as first:
        port = first.address.port
    async with SqliteStorage.open(f"sqlite:///{tmp_path / 'other.db'}", "default") as storage:
        await storage.fence([SiloAddress("127.0.0.1", port, NOW + HOUR)])
    options = {"storage": f"sqlite:///{tmp_path / 'other.db'}", "membership": "memory://"}
    async with running(tmp_path, port, **options) as second:
        assert second.address.generation == NOW + HOUR + 1
        assert await second.get_grain(Total, "a").add() == 1


async def test_a_silo_whose_row_was_removed_takes_a_higher_generation(tmp_path: Path, set_clock: Set) -> None:
    """The row of the highest generation stays, of any silo, so the next one is above those that were removed."""
    url = f"sqlite:///{tmp_path / 'members.db'}"
    async with SqliteMembershipTable.open(url, "default") as table:
        for number, generation in ((1, NOW + HOUR), (2, NOW + HOUR + 1)):
            row = member(SiloAddress("127.0.0.1", number, generation), SiloStatus.DEAD)
            assert await table.insert(row, (await table.read()).version)
    set_clock(NOW)
    async with running(tmp_path, membership=url) as silo:
        assert silo.address.generation == NOW + HOUR + 2


async def test_a_storage_that_does_not_answer_stops_no_start(caplog: pytest.LogCaptureFixture) -> None:
    """If it knows of a death, it refuses the first write; the next start asks again."""
    storage = FaultyStorage()
    await storage.inner.fence([SiloAddress("127.0.0.1", 1, NOW)])
    storage.down = True
    asked = await new_address("127.0.0.1", 1, 5, MemoryMembershipTable(), [storage])
    assert asked.generation == 5
    assert "does not answer which silos at 127.0.0.1:1 are dead: fenced_generation: no server listens" in caplog.text
    with pytest.raises(InconsistentStateError, match="declared dead"):
        await storage.inner.write(GrainId("a", "b"), "s", b"1", None, stamp=Stamp(asked, 1))
    storage.down = False
    assert (await new_address("127.0.0.1", 1, 5, MemoryMembershipTable(), [storage])).generation == NOW + 1


async def test_a_clock_that_is_behind_the_table_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    """A minute or less is not: clocks differ a little, and starts follow one another."""
    table = MemoryMembershipTable()
    assert await table.insert(member(SiloAddress("a", 1, NOW)), (await table.read()).version)
    await new_address("a", 1, NOW - 59_999, table, [])
    assert not caplog.records
    assert (await new_address("a", 1, NOW - HOUR, table, [])).generation == NOW + 1
    assert [getattr(each, "event", "") for each in caplog.records] == ["generation_ahead_of_clock"]
