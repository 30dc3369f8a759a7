"""Each silo answers for its own events: `management.events`, asked by another silo or by a client."""

from __future__ import annotations

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
