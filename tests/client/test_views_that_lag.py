"""A gateway whose silo is a view behind tells a client nothing that it does not know better."""

from __future__ import annotations

import random

from grange import SiloAddress
from grange.client.events import ConnectionEvent, Listeners
from grange.client.gateways import Gateways
from grange.client.options import ClientOptions
from grange.membership.model.member import SiloStatus
from tests.client.test_gateways import Cluster, member, view


async def test_an_older_view_takes_no_gateway_away() -> None:
    """A silo has joined and another one left; a gateway that has not heard of it yet answers with the view before.

    Calls are under way to the new one: to end its connection would leave them without an outcome.
    """
    gone: list[SiloAddress] = []
    told: list[ConnectionEvent] = []
    listeners = Listeners()
    listeners.add(told.append)
    before = view(4, member(0), member(1))
    after = view(6, member(0), member(1, SiloStatus.DEAD), member(2))
    client = Gateways(["10.0.0.1:30000"], ClientOptions(), random.Random(0), gone.append, listeners)
    for shown in (before, after):
        await client.find(Cluster(shown).ask)
    assert gone == [SiloAddress("10.0.0.1", 30_001, 1)]
    known, events = set(client.all()), list(told)
    await client.find(Cluster(before).ask)
    assert client.view == after
    assert set(client.all()) == known
    assert (gone[1:], told) == ([], events)
