"""Each silo answers for its own events: `management.events`, asked by another silo or by a client."""

from __future__ import annotations

import asyncio

import msgspec

from grange import Grain
from grange.proto import journal
from grange.proto.journal import After
from grange.proto.management import encode
from grange.silo.silo import Silo
from grange.testing.cluster import TestCluster


class Cart(Grain):
    """A grain that does nothing."""

    async def touch(self) -> None:
        """Do nothing."""


async def ask(asker: Silo, silo: Silo, question: After) -> journal.Events:
    """Ask one silo for its events by the silo port of another one."""
    answer = await asker._here("").links.sender.ask(silo.address, journal.EVENTS, encode(question), 5.0)
    return msgspec.msgpack.decode(answer, type=journal.Events)


async def test_a_silo_tells_its_start_and_another_silos_stop() -> None:
    async with TestCluster(grains=[Cart], silos=2) as cluster:
        first, second = cluster.silos
        answer = await ask(first, second, After())
        assert answer.address == second.address
        assert [row.number for row in answer.rows] == list(range(1, answer.last + 1))
        names = [row.name for row in answer.rows]
        assert names.index("silo_joining") < names.index("silo_active")
        newer = await ask(first, second, After(answer.last))
        assert newer.rows == ()
        assert (await ask(first, second, After(-1))).rows == answer.rows[-1:]


def timeline(silo: Silo) -> list[tuple[int, str, str]]:
    """The versions that a silo has told: number, silo and change."""
    events = silo._here("").ports.events.after(0, 1000)[0]
    facts = [event.facts for event in events if event.name == "membership_changed"]
    return [(int(fact["version"]), str(fact["member"]), str(fact["change"])) for fact in facts]


async def test_each_silo_tells_the_same_story_of_a_death() -> None:
    """Join and death, in order, each with its version, its writer and the reason. The votes: `test_timeline.py`."""
    async with TestCluster(grains=[Cart], silos=4) as cluster:
        newcomer = await cluster.add_silo()
        await cluster.kill(newcomer)
        await cluster.stable()
        name, told = str(newcomer.address), [timeline(silo) for silo in cluster.silos]
        story = [entry for entry in told[0] if entry[1] == name]
        assert [change for _, _, change in story] == ["joins", "is active", "is dead"]
        for other in told:
            assert [entry for entry in other if entry[1] == name] == story
            versions = [version for version, _, _ in other]
            assert versions == list(range(versions[0], cluster.silos[0].view.version + 1))
        events = cluster.silos[0]._here("").ports.events.after(0, 1000)[0]
        death = [event for event in events if event.name == "membership_changed"][-1]
        assert death.facts["by"] in {str(silo.address) for silo in cluster.silos}
        assert str(death.facts["why"]).startswith("vote 2 of 2: no answer to ")


async def test_a_stop_in_order_and_a_restart_are_told_with_their_reasons() -> None:
    async with TestCluster(grains=[Cart], silos=2) as cluster:
        witness, other = cluster.silos
        await cluster.stop(other)
        events = witness._here("").ports.events.after(0, 1000)[0]
        texts = [event.text for event in events if event.facts.get("member") == str(other.address)]
        assert [text.partition(": ")[2] for text in texts[-2:]] == [
            f"{other.address} leaves, by {other.address}: it stops",
            f"{other.address} is dead, by {other.address}: it has stopped",
        ]


class Slow(Grain):
    """A grain whose turn takes long."""

    async def wait(self) -> None:
        """Wait for two minutes."""
        await asyncio.sleep(120)


async def test_a_silo_tells_its_stuck_turns() -> None:
    async with TestCluster(grains=[Slow], silos=1, runtime={"stuck_after": 10.0}) as cluster:
        call = asyncio.create_task(cluster.get_grain(Slow, "ann").wait())
        await cluster.advance(20)
        rows = cluster.silos[0]._here("").ports.events.after(0, 1000)[0]
        (stuck,) = [row for row in rows if row.name == "turn_stuck"]
        assert stuck.facts["grain"] == "slow/ann"
        assert "await asyncio.sleep(120)" in str(stuck.facts["stack"])
        await cluster.advance(120)
        await asyncio.gather(call, return_exceptions=True)
