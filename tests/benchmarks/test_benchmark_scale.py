"""The harness of the scale, stall and overload figures: its counting, not its times."""

from __future__ import annotations

import asyncio
import xml.etree.ElementTree as ElementTree

import pytest

from benchmarks.chart import Line, chart
from benchmarks.encodings import Order, from_protobuf, to_protobuf
from benchmarks.holds import watched
from benchmarks.overload import closed, opened
from benchmarks.scale import servers
from benchmarks.stalls import LOADS
from grange import CallTimeout
from grange.testing.loop import VirtualTime


def test_a_call_costs_two_messages_in_a_cluster_of_any_size() -> None:
    figures = servers([2, 4])
    for entry in figures.values():
        assert entry["first_call"] == {"messages": 2.0, "directory": 0}
        assert entry["call"]["messages"] == 2.0
    probes = [entry["idle"]["messages"]["membership.probe"] for entry in figures.values()]
    assert max(probes) <= 6.5  # three probes a second, each with its answer


@pytest.mark.parametrize("name", ["expire_near", "close_silo", "kill_activations", "population", "hand_over"])
async def test_the_loads_run(name: str) -> None:
    figures = await LOADS[name](lambda count: max(100, count // 5000))
    assert figures


async def test_holds_are_counted_by_iteration() -> None:
    with watched() as holds:
        for _ in range(5):
            await asyncio.sleep(0)
    assert holds.iterations >= 5
    assert holds.longest >= 0


async def test_loads_record_each_outcome() -> None:
    async def method() -> None:
        await asyncio.sleep(0.1)
        if clock() > start + 1:
            raise CallTimeout("late")

    loop = asyncio.get_running_loop()
    with VirtualTime(loop).installed():
        clock = loop.time
        start = clock()
        record = await opened(lambda _: method, 100, 2)
        assert len(record.good) + record.errors["CallTimeout"] == pytest.approx(200, abs=3)
        assert record.p99() == pytest.approx(100, abs=1)
        assert (await closed(lambda _: method, 3, 1)).errors["CallTimeout"] == pytest.approx(30, abs=3)


def test_a_chart_is_an_image_with_each_line() -> None:
    image = ElementTree.fromstring(chart("a & b", "silos", [1, 10, 100], [Line("x", [1, 2, 3]), Line("y", [0, 0, 0])]))
    assert len(image.findall("{*}polyline")) == 2
    assert "a & b" in "".join(image.itertext())


def test_an_order_survives_protobuf() -> None:
    assert from_protobuf(to_protobuf(Order())) == Order()
