"""Streams: a full state first, then a tick a second; a reader that is slow, comes back, or outlives the dashboard."""

from __future__ import annotations

from itertools import pairwise

import pytest

from grange import Grain
from grange.dashboard import journal_routes
from grange.dashboard.live import KEPT, QUEUE
from grange.dashboard.login import SESSION_SECONDS
from grange.testing.cluster import TestCluster
from grange.testing.loop import VirtualTime
from tests.dashboard.browser import Message
from tests.dashboard.fakes import FakeCluster, shown
from tests.dashboard.shown import dashboard_of, logged_in

STREAMS = ["/api/live?view=overview", "/api/logs/follow"]


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


@pytest.mark.parametrize("url", STREAMS)
async def test_a_stream_ends_with_its_session(url: str) -> None:
    async with TestCluster([Cart], silos=1) as cluster, dashboard_of(cluster) as dashboard:
        browser, other = await logged_in(dashboard), await logged_in(dashboard)
        async with browser.stream(url) as stream, other.stream("/api/live") as stays:
            await stream.next("retry")
            assert (await browser.post("/api/logout")).status == 204
            await stream.next("bye")
            await stream.ended.wait()
            assert not stays.ended.is_set()


@pytest.mark.parametrize("url", STREAMS)
async def test_a_stream_ends_when_its_session_does_by_time(time: VirtualTime, url: str) -> None:
    async with shown(FakeCluster(), time) as dashboard:
        browser = await logged_in(dashboard)
        await time.advance(SESSION_SECONDS - 60)
        async with browser.stream(url) as stream:
            await stream.next("retry")
            await time.advance(62)
            await stream.next("bye")
            await stream.ended.wait()


@pytest.mark.parametrize("view", ["", "overview/a", "silos/a", "silo", "type/", "nothing", "type/" + "a" * 1000])
async def test_a_made_up_view_is_refused(time: VirtualTime, view: str) -> None:
    async with shown(FakeCluster(), time) as dashboard:
        browser = await logged_in(dashboard)
        reply = await browser.get(f"/api/live?view={view}&other=")
        assert (reply.status, reply.json["error"]["field"]) == (400, "view")
        for known in ("silos", "silo/silo-1", "type/cart", "membership", "quiet"):
            async with browser.stream(f"/api/live?view={known}") as stream:
                await stream.next("hello")


async def test_streams_of_log_lines_are_bounded(time: VirtualTime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_routes, "MOST_FOLLOWERS", 1)
    async with shown(FakeCluster(), time) as dashboard:
        browser = await logged_in(dashboard)
        for _ in range(2):
            async with browser.stream("/api/logs/follow") as stream:
                await stream.next("retry")
                assert (await browser.get("/api/logs/follow")).status == 503
