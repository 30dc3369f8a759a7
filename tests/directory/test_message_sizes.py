"""Messages about many grains stay within the message limit, also with long keys."""

from __future__ import annotations

import msgspec

from grange.directory.slice.messages import (
    CHECK,
    RECOVER,
    Recover,
    Recovered,
    decode,
    encode,
    to_address,
    to_pairs,
    to_ranges,
)
from grange.proto.ids import GrainAddress, GrainId
from grange.transport.options import DEFAULT_PAYLOAD_LIMIT
from tests.directory.cluster import Cluster
from tests.directory.virtual_time import run


def test_a_silo_with_long_keys_answers_a_recovery_in_several_messages() -> None:
    """A message over the limit is never sent, so the range of a dead silo would never become ready."""

    async def main() -> None:
        async with Cluster() as cluster:
            [host] = await cluster.start(1)
            grains = [GrainId("cart", f"{number:05}" + "ü" * 600) for number in range(6_000)]
            for grain_id in grains:
                await host.activate(grain_id)
            answer = host.targets.find(RECOVER)
            assert answer is not None
            reported: list[GrainAddress] = []
            rest = host.directory.partition.owned
            while rest:
                reply = await answer(encode(Recover(cluster.view.version, to_pairs(rest))))
                assert len(reply) < DEFAULT_PAYLOAD_LIMIT
                page = decode(Recovered, reply)
                reported += map(to_address, page.entries)
                rest = to_ranges(page.rest)
            assert sorted(address.grain_id.key for address in reported) == [grain_id.key for grain_id in grains]

    run(main())


def test_the_confirming_comparison_is_sent_in_pages_too() -> None:
    """If an owner has lost many entries, the confirming request must stay within the message limit."""

    async def main() -> None:
        async with Cluster(check_page=4) as cluster:
            first, second = await cluster.start(2)
            await cluster.quiet()
            grains = [
                grain_id
                for grain_id in (GrainId("cart", str(n)) for n in range(80))
                if cluster.owner(grain_id) is second
            ]
            for grain_id in grains:
                first.won[grain_id] = first.address(grain_id)
            sizes: list[int] = []
            targets, answer = second.targets, second.targets.find(CHECK)
            assert answer is not None

            async def counted(request: bytes) -> bytes:
                sizes.append(len(msgspec.msgpack.decode(request)[1]))
                return await answer(request)

            targets._answers[CHECK] = counted
            await first.directory.compare()
            assert first.directory.repairs.repaired == len(grains) > 20
            assert max(sizes) <= 4

    run(main())
