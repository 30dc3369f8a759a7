"""The difference of two snapshots: counters are subtracted, states are taken as they are."""

from __future__ import annotations

import msgspec

from grange.observability.histogram import Distribution
from grange.observability.snapshot import MethodSnapshot, ProcessSnapshot, Snapshot, TypeSnapshot, delta
from grange.proto.ids import SiloAddress

HERE = SiloAddress("127.0.0.1", 11111, 1)


def snapshot(time: float, calls: int, *more: TypeSnapshot, address: SiloAddress = HERE) -> Snapshot:
    method = MethodSnapshot("add", calls=Distribution((calls,), calls * 0.1), failed=calls // 2, refused={"x": calls})
    return Snapshot(
        address=address, name="a", cluster="c", release="1", time=time, uptime=time, span=time, timeouts=calls,
        in_flight=calls, types=(TypeSnapshot("cart", activations=calls, created=calls, methods=(method,)), *more),
        process=ProcessSnapshot(cpu=time / 2, rss=calls, collections=(calls, 1)),
    )  # fmt: skip


def test_counters_are_subtracted_and_states_are_not() -> None:
    after = snapshot(12, 30, TypeSnapshot("order", created=4))
    found = delta(snapshot(10, 10), after)
    assert (found.span, found.uptime, found.time) == (2, 12, 12)
    assert (found.timeouts, found.in_flight) == (20, 30)
    cart, order = found.types
    assert (cart.activations, cart.created, order.created) == (30, 20, 4)
    assert cart.methods[0].calls.count == 20
    assert (cart.methods[0].failed, cart.methods[0].refused) == (10, {"x": 20})
    assert (found.process.cpu, found.process.rss, found.process.collections) == (1, 30, (20, 0))


def test_a_silo_that_started_again_counts_from_nothing() -> None:
    again = snapshot(1, 5, address=SiloAddress("127.0.0.1", 11111, 2))
    assert delta(snapshot(100, 1000), again) is again


def test_a_snapshot_survives_the_wire() -> None:
    one = snapshot(12, 30)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(one), type=Snapshot) == one
