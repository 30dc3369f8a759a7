"""The harness of the scale, stall and overload figures: its counting, not its times."""

from __future__ import annotations

import asyncio
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from benchmarks.encodings import Order, from_protobuf, to_protobuf
from benchmarks.holds import watched
from benchmarks.overload import closed, opened
from benchmarks.scale import draw, servers
from benchmarks.stalls import LOADS
from grange import CallTimeout
from grange.testing.loop import VirtualTime


def test_a_call_costs_two_messages_in_a_cluster_of_any_size() -> None:
    figures = servers([2, 4])
    for entry in figures.values():
        assert entry["first_call"] == {"messages": 2.0, "directory": 0}
        assert entry["call"]["messages"] == 2.0
    probes = [entry["idle"]["messages"]["membership.probe"] for entry in figures.values()]
    assert max(probes) <= 12.5  # six probes a second, each with its answer


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


def test_the_charts_show_the_figures(tmp_path: Path) -> None:
    idle = {"messages": {"probe": 3.0, "gossip": 1.0}}
    servers = {size: {"call": {"messages": 2.0}, "idle": idle} for size in ("2", "8", "125")}
    draw({"servers": servers, "actors": {"1000": {"ratio": 1.0}, "1000000": {"ratio": 0.9}}}, tmp_path)
    for name, count in (("servers.svg", 2), ("actors.svg", 1)):
        assert len(ElementTree.parse(tmp_path / name).findall("{*}polyline")) == count


def test_an_order_survives_protobuf() -> None:
    assert from_protobuf(to_protobuf(Order())) == Order()
