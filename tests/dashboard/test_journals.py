"""Events, log lines, traces, membership and health of all silos, merged; hostile texts stay text."""

from __future__ import annotations

import json
import tomllib
from typing import Any

import msgspec
import pytest

from grange.dashboard import views
from grange.dashboard.audit_memory import AuditMemory
from grange.dashboard.health import ALARMS
from grange.dashboard.runbook_pages import FOLDERS
from grange.membership.model.member import SiloStatus
from grange.proto.acts import AUDIT, Audit, AuditRow, Level
from grange.proto.inspection import DOUBTS, SETUP, STORES, DoubtRow, Doubts, Setup, StepRow, StoreRow, Stores
from grange.proto.journal import LOGS, TRACE, TRACES, After, LogRow, Logs, ReadLogs, RootRow, SpanRow, Traces
from grange.proto.management import DRAIN, DrainState, Phase
from grange.testing.loop import VirtualTime
from tests.architecture.sources import ROOT
from tests.dashboard.browser import Browser
from tests.dashboard.fakes import STARTED, FakeCluster, FakeSilo, shown
from tests.dashboard.shown import logged_in

NOW = STARTED.timestamp()

HOSTILE = (
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(1)>",
    "\u2028\u2029",
    "\x00\x1b[31m",
    "🎈" * 50,
)


async def test_events_of_all_silos_come_in_one_order_and_as_they_happen(time: VirtualTime) -> None:
    cluster = FakeCluster()
    one, two = cluster.silos
    one.event("silo_active", NOW + 1)
    two.event("silo_active", NOW + 2)
    one.event("loop_blocked", NOW + 3, seconds=2.5)
    async with shown(cluster, time) as dashboard:
        browser = await logged_in(dashboard)
        rows = (await browser.get("/api/events")).json["rows"]
        assert [(row["silo"], row["name"]) for row in rows] == [
            ("silo-1", "loop_blocked"), ("silo-2", "silo_active"), ("silo-1", "silo_active"),
        ]  # fmt: skip
        assert rows[0]["time"] == int((NOW + 3) * 1000)
        async with browser.stream("/api/live?view=overview") as stream:
            await stream.next("tick")
            two.event("self_fenced", NOW + 4, seconds=3.0)
            event = (await stream.next("event")).data
            assert (event["silo"], event["name"]) == ("silo-2", "self_fenced")
            tick = (await stream.next("tick")).data
            assert tick["head"]["alarms"] == 2
        assert len((await browser.get(f"/api/events?after={int((NOW + 3) * 1000)}")).json["rows"]) == 1


async def test_events_of_a_dead_silo_are_remembered(time: VirtualTime) -> None:
    cluster = FakeCluster()
    cluster.silos[0].event("silo_active", NOW + 1)
    async with shown(cluster, time) as dashboard:
        browser = await logged_in(dashboard)
        await time.advance(1)
        del cluster.silos[0]
        await time.advance(15)
        assert [row["silo"] for row in (await browser.get("/api/events")).json["rows"]] == ["silo-1"]


async def test_the_timeline_shows_each_change_once(time: VirtualTime) -> None:
    cluster = FakeCluster()
    one, two = cluster.silos
    for silo in (one, two):
        silo.event(
            "membership_changed", NOW + 5 + silo.address.port / 1e5, version=3, member=str(two.address),
            status="active", change="is active", by=str(two.address), why="it joined",
        )  # fmt: skip
    one.event("self_fenced", NOW + 10, seconds=3.0)
    one.event("fence_lifted", NOW + 14, seconds=4.0)
    two.event("self_fenced", NOW + 20, seconds=3.0)
    doubt = DoubtRow(two.address, True, 0.002, 0, False, True)
    one.answers[DOUBTS] = Doubts(one.address, 3, (doubt,), "a1b2")
    async with shown(cluster, time) as dashboard:
        browser = await logged_in(dashboard)
        found = (await browser.get("/api/membership")).json
        assert [(row["version"], row["silo"], row["by"], row["why"]) for row in found["versions"]] == [
            (3, "silo-2", "silo-2", "is active: it joined")
        ]
        assert found["fences"] == [
            {
                "silo": "silo-1",
                "from": int((NOW + 10) * 1000),
                "to": int((NOW + 14) * 1000),
                "why": "self_fenced happened",
            }
        ]
        assert found["incarnation"] == "a1b2"
        assert found["doubts"][0][0] is None
        assert found["doubts"][0][1]["rtt"] == 0.002
        assert found["doubts"][1] == [None, None]


def lines(silo: FakeSilo, *texts: str) -> Any:
    rows = tuple(LogRow(n, NOW + n + silo.address.port / 1e6, 20, "app", text) for n, text in enumerate(texts, 1))

    def answer(question: bytes) -> Logs:
        asked = msgspec.msgpack.decode(question, type=ReadLogs)
        after = asked.number if asked.number >= 0 else max(0, len(rows) + asked.number)
        found = tuple(row for row in rows if row.number > after and asked.contains in row.text)
        return Logs(silo.address, found, len(rows))

    return answer


async def test_log_lines_of_all_silos_are_merged_by_time_and_followed(time: VirtualTime) -> None:
    cluster = FakeCluster()
    one, two = cluster.silos
    one.answers[LOGS], two.answers[LOGS] = lines(one, "a", "b"), lines(two, "c")
    async with shown(cluster, time) as dashboard:
        browser = await logged_in(dashboard)
        rows = (await browser.get("/api/logs?level=10")).json["rows"]
        assert [row["text"] for row in rows] == ["a", "c", "b"]
        assert [row["text"] for row in (await browser.get("/api/logs?contains=b")).json["rows"]] == ["b"]
        assert [row["silo"] for row in (await browser.get("/api/logs?silo=silo-2")).json["rows"]] == ["silo-2"]
        async with browser.stream("/api/logs/follow") as stream:
            newest = (await stream.next("lines")).data["rows"]
            assert [row["text"] for row in newest] == ["c", "b"]
            two.answers[LOGS] = lines(two, "c", "new")
            assert [row["text"] for row in (await stream.next("lines")).data["rows"]] == ["new"]
            assert (await stream.next(":")).name == ":"
            dashboard.collector.live.close()
            await stream.next("bye")
            await stream.ended.wait()


@pytest.mark.parametrize(
    ("url", "field"),
    [
        ("/api/logs?level=x", "level"),
        ("/api/logs?level=99", "level"),
        ("/api/logs?trace=xyz", "trace"),
        ("/api/logs?silo=none", "silo"),
        ("/api/logs/follow?silo=none", "silo"),
        ("/api/events?after=-1", "after"),
        ("/api/traces?kept=all", "kept"),
        ("/api/activation?key=a", "type"),
    ],
)
async def test_a_wrong_parameter_is_named(time: VirtualTime, url: str, field: str) -> None:
    async with shown(FakeCluster(), time) as dashboard:
        browser = await logged_in(dashboard)
        reply = await browser.get(url)
        assert (reply.status, reply.json["error"]["field"]) == (400, field)


async def test_a_trace_is_put_together_from_all_silos(time: VirtualTime) -> None:
    cluster = FakeCluster(silos=3)
    trace = "ab" * 16
    spans = [SpanRow(trace, f"{n:016x}", "", "server", "cart/add", NOW + n, 0.5) for n in range(3)]
    one, two, three = cluster.silos
    one.answers[TRACE] = Traces(one.address, spans=(spans[2], spans[0]))
    two.answers[TRACE] = Traces(two.address, spans=(spans[1], spans[0]))
    three.is_dead = True
    one.answers[TRACES] = Traces(one.address, roots=(RootRow(spans[0], "error"),), sampling=0.1)
    two.answers[TRACES] = Traces(two.address, roots=(RootRow(spans[1], "slow"),), sampling=0.1)
    async with shown(cluster, time) as dashboard:
        browser = await logged_in(dashboard)
        found = (await browser.get(f"/api/traces/{trace}")).json
        assert [span["span"] for span in found["spans"]] == [span.span for span in spans]
        assert found["silent"] == ["silo-3"]
        roots = (await browser.get("/api/traces")).json
        assert [root["kept"] for root in roots["roots"]] == ["slow", "error"]
        assert roots["sampling"] == 0.1
        assert [root["kept"] for root in (await browser.get("/api/traces?kept=error")).json["roots"]] == ["error"]
        assert (await browser.get("/api/traces/..%2f..")).status == 404


async def test_hostile_texts_are_inert_json(time: VirtualTime) -> None:
    cluster = FakeCluster(silos=1)
    silo = cluster.silos[0]
    silo.answers[LOGS] = lines(silo, *HOSTILE)
    for text in HOSTILE:
        silo.event("silo_active", NOW, member=text)
    silo.fill("cart", 1)
    row = silo.activations[0]
    silo.activations += [
        msgspec.structs.replace(row, grain_id=msgspec.structs.replace(row.grain_id, key=text)) for text in HOSTILE
    ]
    async with shown(cluster, time) as dashboard:
        browser = await logged_in(dashboard)
        for url in ("/api/logs", "/api/events", "/api/activations"):
            reply = await browser.get(url)
            assert reply.headers["content-type"] == "application/json"
            assert reply.headers["x-content-type-options"] == "nosniff"
            texts = json.dumps(reply.json, ensure_ascii=False)
            assert len(reply.json["rows"]) >= len(HOSTILE), texts
        assert {row["text"] for row in (await browser.get("/api/logs")).json["rows"]} == set(HOSTILE)


def test_every_alarm_has_a_runbook() -> None:
    pages = {page.stem for page in (ROOT / "docs" / "runbooks").glob("*.md")} - {"README"}
    assert pages >= ALARMS


async def test_an_alarm_ends_by_its_event_or_by_time(time: VirtualTime) -> None:
    cluster = FakeCluster(silos=1)
    silo = cluster.silos[0]
    begin = time.utc_now().timestamp()
    silo.event("table_unreachable", begin)
    silo.event("drain_timeout", begin)
    async with shown(cluster, time) as dashboard:
        browser = await logged_in(dashboard)
        alarms = (await browser.get("/api/health")).json["alarms"]
        assert {alarm["name"]: alarm["runbook"] for alarm in alarms} == {
            "table_unreachable": "table_unreachable", "drain_timeout": "drain_timeout",
        }  # fmt: skip
        silo.event("table_reachable", begin + 5)
        alarms = (await browser.get("/api/health")).json["alarms"]
        assert [alarm["name"] for alarm in alarms] == ["drain_timeout"]
        await time.advance(1000)
        assert (await browser.get("/api/health")).json["alarms"] == []


async def test_the_runbook_of_an_alarm_is_a_page_behind_the_login(time: VirtualTime) -> None:
    async with shown(FakeCluster(), time) as dashboard:
        assert (await Browser(dashboard.app).get("/api/runbooks/turn_stuck")).status == 401
        browser = await logged_in(dashboard)
        text = (await browser.get("/api/runbooks/turn_stuck")).json["text"]
        assert text == (ROOT / "docs" / "runbooks" / "turn_stuck.md").read_text("utf-8")
        for name in ("none", "..%2f..%2fREADME", "README"):
            assert (await browser.get(f"/api/runbooks/{name}")).status == 404


def test_the_wheel_has_the_runbooks() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert included == {"docs/runbooks": "grange/dashboard/runbooks"}
    assert (ROOT / "grange" / "dashboard" / "runbooks") in FOLDERS


def audited(silo: FakeSilo, *acts: tuple[float, str]) -> Any:
    rows = tuple(
        AuditRow(n, NOW + seconds, "ann", Level.OPERATOR, "drain", silo.name, "a new machine", outcome, "it drains")
        for n, (seconds, outcome) in enumerate(acts, 1)
    )

    def answer(question: bytes) -> Audit:
        after = msgspec.msgpack.decode(question, type=After)
        first = after.number if after.number >= 0 else max(0, len(rows) + after.number)
        return Audit(silo.address, tuple(row for row in rows if row.number > first)[: after.limit])

    return answer


async def test_the_acts_on_a_silo_that_has_ended_are_remembered(time: VirtualTime) -> None:
    """The last act on a silo is often its drain, and its audit ends with it."""
    cluster = FakeCluster()
    one, two = cluster.silos
    two.answers[AUDIT] = audited(two, (1.0, "done"))
    async with shown(cluster, time) as dashboard:
        browser = await logged_in(dashboard)
        await time.advance(15)
        one.answers[AUDIT] = audited(one, (15.0, "begun"), (15.0, "done"))
        one.event("action_taken", NOW + 15, action="drain")
        await time.advance(11)  # no page is open
        cluster.silos.remove(one)
        await time.advance(15)
        found = (await browser.get("/api/audit")).json
        assert [(row["silo"], row["outcome"]) for row in found["rows"]] == [
            ("silo-1", "done"), ("silo-1", "begun"), ("silo-2", "done"),
        ]  # fmt: skip
        assert found["rows"][0]["reason"] == "a new machine"
        assert found["silent"] == []
        assert len((await browser.get("/api/audit")).json["rows"]) == 3, "each row once"


async def test_a_silo_that_did_nothing_is_not_asked_for_its_acts(time: VirtualTime) -> None:
    cluster = FakeCluster()
    async with shown(cluster, time):
        await time.advance(30)
        assert AUDIT not in [service for silo in cluster.silos for service, _ in silo.asked]


async def test_rows_of_the_audit_are_chosen_by_filters(time: VirtualTime) -> None:
    cluster = FakeCluster()
    one, _ = cluster.silos
    rows = (
        AuditRow(1, NOW, "ann", Level.OPERATOR, "drain", "silo-1", "a roll", "done", "", trace=""),
        AuditRow(2, NOW, "user:bob", Level.NONE, "cart/pay", "cart/a", "", "begun", "", "call", "web", "ab" * 16),
        AuditRow(3, NOW, "user:eve", Level.NONE, "cart/pay", "cart/a", "no rule", "refused", "", "denial"),
    )
    one.answers[AUDIT] = lambda question: Audit(one.address, rows)
    async with shown(cluster, time) as dashboard:
        browser = await logged_in(dashboard)

        async def found(query: str) -> list[int]:
            return [row["number"] for row in (await browser.get(f"/api/audit{query}")).json["rows"]]

        assert await found("") == [3, 2, 1]
        assert await found("?kind=denial") == [3]
        assert await found("?who=web") == [2]
        assert await found("?what=cart%2Fpay&who=eve") == [3]
        assert await found("?what=silo-1") == [1]
        assert (await browser.get("/api/audit?kind=other")).status == 400
        assert (await browser.get("/api/audit?kind=call")).json["rows"][0]["trace"] == "ab" * 16


def test_refused_callers_do_not_push_acts_out_of_the_memory() -> None:
    memory, silo = AuditMemory(), FakeSilo(1, {})
    memory.keep(silo.member, Audit(silo.address, (AuditRow(1, NOW, "a", Level.ADMIN, "drain", "", "", "done", ""),)))
    for first in range(1, 5000, 200):
        rows = tuple(
            AuditRow(first + n, NOW, "eve", Level.NONE, "c/m", "c/k", "", "refused", "", "denial")
            for n in range(1, 201)
        )
        memory.keep(silo.member, Audit(silo.address, rows))
    assert len(memory.newest(kind="denial")) == 2000
    assert [row["action"] for row in memory.newest(kind="act")] == ["drain"]


def test_the_memory_of_acts_is_bounded() -> None:
    memory, silo = AuditMemory(), FakeSilo(1, {})
    for first in range(0, 3000, 200):
        rows = tuple(
            AuditRow(first + n, NOW + first + n, "ann", Level.OPERATOR, "call", "a/b", "", "done", "")
            for n in range(1, 201)
        )
        memory.keep(silo.member, Audit(silo.address, rows))
        memory.keep(silo.member, Audit(silo.address, rows))
    assert [row["number"] for row in memory.newest()] == list(range(3000, 1000, -1))
    assert memory.question(silo.member) == After(3000, 200)
    memory.forget([])
    assert memory.question(silo.member) == After(-200, 200)


async def test_the_checks_of_stores_are_those_of_the_silos(time: VirtualTime) -> None:
    cluster = FakeCluster()
    one, two = cluster.silos
    shared = StoreRow("membership", "redis://db", "ok", "role", "master")
    weak = StoreRow("membership", "redis://db", "warn", "persistence", "no append-only file", "set appendonly yes")
    own = StoreRow("storage default", "postgres://pg", "bad", "connection", "refused", "start the store")
    one.answers[STORES] = Stores(one.address, (shared, weak))
    two.answers[STORES] = Stores(two.address, (shared, weak, own))
    async with shown(cluster, time) as dashboard:
        browser = await logged_in(dashboard)
        await time.advance(2)
        checks = {each["name"]: each for each in (await browser.get("/api/health")).json["checks"]}
        assert checks["membership: role"] == {
            "name": "membership: role", "ok": True, "warn": False, "text": "redis://db: master", "runbook": "",
        }  # fmt: skip
        assert checks["membership: persistence"]["warn"] is True
        assert checks["membership: persistence"]["ok"] is True
        assert checks["membership: persistence"]["text"] == "redis://db: no append-only file; set appendonly yes"
        assert checks["storage default: connection"]["ok"] is False
        assert checks["storage default: connection"]["text"].endswith("refused; start the store (by silo-2)")
        assert checks["storage default: connection"]["runbook"] == "store_not_safe"
        assert checks["every silo answers"]["warn"] is False


async def test_a_silo_shows_how_it_started_and_drains(time: VirtualTime) -> None:
    cluster = FakeCluster()
    one, two = cluster.silos
    one.answers[SETUP] = Setup(one.address, {}, (), start=(StepRow("join", 0.5),))
    two.answers[DRAIN] = DrainState(two.address, Phase.MOVING, 12, 3, 1.5)
    async with shown(cluster, time) as dashboard:
        browser = await logged_in(dashboard)
        found = (await browser.get("/api/silos/silo-1")).json
        assert (found["start"], found["drain"]) == ([{"name": "join", "seconds": 0.5}], None)
        two.status = SiloStatus.LEAVING
        drain = (await browser.get("/api/silos/silo-2")).json["drain"]
        assert (drain["phase"], drain["activations"], drain["requests"]) == ("moving", 12, 3)


async def test_the_ticks_of_a_silo_make_no_row_of_another(time: VirtualTime, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    row = views.silo_row

    def counted(picture: Any, silo: Any) -> Any:
        made.append(silo.member.name)
        return row(picture, silo)

    monkeypatch.setattr(views, "silo_row", counted)
    async with shown(FakeCluster(silos=5), time) as dashboard:
        browser = await logged_in(dashboard)
        async with browser.stream("/api/live?view=silo/silo-3") as stream:
            await stream.next("hello")
            tick = await stream.next("tick")
    assert [each["name"] for each in tick.data["silos"]] == ["silo-3"]
    assert set(made) == {"silo-3"}
