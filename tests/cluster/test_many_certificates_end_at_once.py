"""Many connections with one certificate end with it, and the silo goes on (S8, F28)."""

from __future__ import annotations

import asyncio

from grange import Grain
from grange.proto.handshake import Hello, Role
from grange.security.certificate import Certificate
from grange.silo.renewals import Renewals
from grange.testing.cluster import TestCluster
from tests.transport.net import Inbox

MANY = 50


class Till(Grain):
    async def add(self) -> int:
        return 1


async def test_they_are_cut_by_one_look_and_counted_once() -> None:
    """A look for each of them would look at all: it would hold the loop for as many times as long."""
    async with TestCluster([Till], silos=1) as cluster:
        (silo,) = cluster.silos
        renewals = silo._running.hosting.renewals
        looks: list[float] = []
        loop = asyncio.get_running_loop()

        def look() -> None:
            looks.append(loop.time())
            Renewals.look(renewals)

        renewals.look = look  # type: ignore[method-assign]
        assert cluster.time is not None
        ends = cluster.time.utc_now().timestamp() + 10.3
        transport = cluster.new_transport("web", Certificate(uri="spiffe://default/client/web", not_after=ends))
        host, _, port = silo.gateway.rpartition(":")
        inboxes = [Inbox() for _ in range(MANY)]
        for each in inboxes:
            await transport.connect(host, int(port), Hello("default", Role.CLIENT, "web"), each)
        began = loop.time()
        async with asyncio.timeout(30):
            for each in inboxes:
                await each.ended()
        assert 10.0 < loop.time() - began < 10.7  # not only at the next second
        await asyncio.sleep(5)
        assert dict(renewals.cut) == {"expired": MANY}
        assert len(looks) <= 3  # the timer's
        assert await cluster.get_grain(Till, "a").add() == 1
