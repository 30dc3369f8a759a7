"""Streams: a full state first, then a tick a second; a reader that is slow, comes back, or outlives the dashboard."""

from __future__ import annotations

from itertools import pairwise

from grange import Grain
from grange.dashboard.live import KEPT, QUEUE
from grange.testing.cluster import TestCluster
from tests.dashboard.browser import Message
from tests.dashboard.shown import dashboard_of, logged_in


class Cart(Grain):
    async def touch(self) -> None: ...


def number_of(message: Message) -> int:
    return int(message.id.rpartition("-")[2])


async def test_a_page_gets_the_full_state_and_then_a_tick_a_second() -> None:
    async with TestCluster([Cart], silos=2) as cluster, dashboard_of(cluster) as dashboard:
        browser = await logged_in(dashboard)
        await cluster.get_grain(Cart, "ann").touch()
        async with browser.stream("/api/live?view=overview") as stream:
            hello = await stream.next("hello")
            assert hello.data["silos"] == ["silo-1", "silo-2"]
            ticks = [await stream.next("tick") for _ in range(3)]
            times = [tick.data["now"] for tick in ticks]
            assert [after - before for before, after in pairwise(times)] == [1000, 1000]
            assert ticks[-1].data["head"]["activations"] == 1
            assert ticks[-1].data["head"]["silos"]["active"] == 2


async def test_a_page_that_comes_back_gets_the_ticks_that_it_missed() -> None:
    async with TestCluster([Cart], silos=1) as cluster, dashboard_of(cluster) as dashboard:
        browser = await logged_in(dashboard)
        async with browser.stream("/api/live?view=silos") as stream:
            await stream.next("hello")
            last = await stream.next("tick")
        await cluster.advance(10)
        async with browser.stream("/api/live?view=silos", {"last-event-id": last.id}) as stream:
            missed = [await stream.next("hello", "tick") for _ in range(5)]
            assert [number_of(each) for each in missed] == [number_of(last) + n for n in range(1, 6)]
            assert {each.name for each in missed} == {"tick"}


async def test_a_page_that_comes_back_too_late_gets_the_full_state() -> None:
    async with TestCluster([Cart], silos=1) as cluster, dashboard_of(cluster) as dashboard:
        browser = await logged_in(dashboard)
        async with browser.stream("/api/live?view=silos") as stream:
            last = await stream.next("tick")
        await cluster.advance(KEPT * 2)
        for wrong in (last.id, "elsewhere-1", "nonsense", last.id + "0"):
            async with browser.stream("/api/live?view=silos", {"last-event-id": wrong}) as stream:
                assert (await stream.next("hello", "tick")).name == "hello"


async def test_a_page_that_reads_too_slowly_loses_ticks_and_is_told() -> None:
    async with TestCluster([Cart], silos=1) as cluster, dashboard_of(cluster) as dashboard:
        browser = await logged_in(dashboard)
        async with browser.stream("/api/live?view=overview") as stream:
            await stream.next("tick")
            stream.may_send.clear()
            await cluster.advance(QUEUE * 3)
            stream.may_send.set()
            assert (await stream.next("resync", "hello")).name == "resync"
            hello = await stream.next("hello", "tick")
            assert hello.name == "hello"
            after = await stream.next("tick")
            assert number_of(after) == number_of(hello) + 1


async def test_a_page_leaves_nothing_behind_and_idle_channels_are_forgotten() -> None:
    async with TestCluster([Cart], silos=1) as cluster, dashboard_of(cluster) as dashboard:
        browser = await logged_in(dashboard)
        live = dashboard.collector.live
        async with browser.stream("/api/live?view=overview") as stream:
            await stream.next("hello")
            assert live.viewers == 1
        assert live.viewers == 0
        assert live.is_watched
        await cluster.advance(KEPT + 5)
        assert not live.is_watched


async def test_every_stream_says_bye_when_the_dashboard_ends() -> None:
    async with TestCluster([Cart], silos=1) as cluster, dashboard_of(cluster) as dashboard:
        browser = await logged_in(dashboard)
        async with browser.stream("/api/live?view=overview") as stream:
            await stream.next("hello")
            live = dashboard.collector.live
            live.close()
            assert (await stream.next("bye", "tick")).name == "bye"
            await stream.ended.wait()
        assert (await browser.get("/api/live?view=overview")).status == 503
