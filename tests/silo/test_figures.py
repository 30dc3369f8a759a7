"""The figures of a silo: the answer to `management.figures`."""

from __future__ import annotations

import msgspec

from grange import Grain
from grange.observability.snapshot import Snapshot
from grange.proto.inspection import FIGURES
from grange.testing import TestCluster


class Cart(Grain):
    async def add(self) -> int:
        return 1


async def asked(cluster: TestCluster, number: int = 0) -> Snapshot:
    answer = await cluster.client.ask(cluster.client.gateways[number], FIGURES, b"")
    return msgspec.msgpack.decode(answer, type=Snapshot)


async def test_a_silo_answers_with_its_figures() -> None:
    async with TestCluster(grains=[Cart], silos=2) as cluster:
        await cluster.get_grain(Cart, "ann").add()
        both = [await asked(cluster, number) for number in range(2)]
        assert sum(each.activations for each in both) == 1
        assert {each.name for each in both} == {silo.name for silo in cluster.silos}
        assert all(each.membership.silos == {"active": 2} and each.ready for each in both)
        assert all(each.status == "active" and each.process.cpu > 0 for each in both)
