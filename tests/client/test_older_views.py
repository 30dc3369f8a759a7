"""A client ignores a view that is older than its own."""

from __future__ import annotations

import random

from grange import SiloAddress
from grange.client.events import ConnectionEvent, Listeners
from grange.client.gateways import Gateways
from grange.client.options import ClientOptions
from grange.membership.model.member import SiloStatus
from tests.client.test_gateways import Cluster, member, view


async def test_an_older_view_removes_no_gateway() -> None:
    """A silo has joined and another one has left. A gateway that is behind answers with the view before.

    Calls are in flight to the new silo. Closing its connection would leave them without an outcome.
    """
    gone: list[SiloAddress] = []
    notified: list[ConnectionEvent] = []
    listeners = Listeners()
    listeners.add(notified.append)
    before = view(4, member(0), member(1))
    after = view(6, member(0), member(1, SiloStatus.DEAD), member(2))
    client = Gateways(["10.0.0.1:30000"], ClientOptions(), random.Random(0), gone.append, listeners)
    for shown in (before, after):
        await client.find(Cluster(shown).ask)
    assert gone == [SiloAddress("10.0.0.1", 30_001, 1)]
    known, events = set(client.all()), list(notified)
    await client.find(Cluster(before).ask)
    assert client.view == after
    assert set(client.all()) == known
    assert (gone[1:], notified) == ([], events)
