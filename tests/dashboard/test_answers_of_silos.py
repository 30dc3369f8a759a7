"""What real silos answer about what happened is what the pages get: membership, traces, log lines."""

from __future__ import annotations

from grange import Grain
from grange.dashboard.timeline import versions_of
from grange.observability import Telemetry
from grange.proto.acts import Level
from grange.testing.cluster import TestCluster
from tests.dashboard.shown import dashboard_of, logged_in


class Cart(Grain):
    async def add(self) -> int:
        return 1

    async def fail(self) -> None:
        raise ValueError("no")


async def test_the_membership_page_tells_every_version_and_the_doubts_of_each_silo() -> None:
    async with TestCluster([Cart], silos=3) as cluster, dashboard_of(cluster) as dashboard:
        browser = await logged_in(dashboard, Level.VIEWER)
        await cluster.advance(5)
        killed = cluster.silos[-1]
        await cluster.kill(killed)
        await cluster.advance(40)
        found = (await browser.get("/api/membership")).json
        first = min(row["first"] for row in found["versions"])
        told = {version for row in found["versions"] for version in range(row["first"], row["version"] + 1)}
        assert told == set(range(first, found["version"] + 1))
        death = next(row for row in found["versions"] if row["status"] == "dead")
        assert (death["silo"], death["by"]) == (killed.name, death["by"])
        assert death["by"] in {"silo-1", "silo-2"}
        assert death["why"].startswith("is dead: ")
        assert "@" not in death["why"], "silos have names"
        told_events = (await browser.get("/api/events")).json["rows"]
        (dead,) = [row for row in told_events if row["name"] == "silo_declared_dead"]
        assert dead["text"].startswith(f"silo {killed.name} is declared dead by")
        assert dead["facts"]["member"] == str(killed.address)
        assert found["incarnation"]
        assert "," not in found["incarnation"]
        assert [silo["name"] for silo in found["silos"]] == ["silo-1", "silo-2"]
        (none, seen), (_, self) = found["doubts"]
        assert (none, self) == (None, None)
        assert (seen["probed"], seen["connected"], seen["missed"], seen["voted"]) == (True, True, 0, False)
        assert seen["rtt"] >= 0


async def test_a_viewer_sees_the_traces_of_all_silos() -> None:
    async with (
        TestCluster([Cart], silos=2, telemetry=Telemetry(sample=1.0)) as cluster,
        dashboard_of(cluster) as dashboard,
    ):
        browser = await logged_in(dashboard, Level.VIEWER)
        for number in range(10):
            await cluster.get_grain(Cart, f"customer-{number}").add()
        listed = (await browser.get("/api/traces")).json
        assert (listed["silent"], listed["off"], listed["sampling"]) == ([], [], 1.0)
        names = {root["name"] for root in listed["roots"]}
        assert "cart/add" in names
        root = next(root for root in listed["roots"] if root["name"] == "cart/add")
        spans = (await browser.get(f"/api/traces/{root['trace']}")).json
        assert spans["silent"] == []
        assert "server" in {span["kind"] for span in spans["spans"]}


async def test_silos_without_telemetry_or_log_lines_are_named() -> None:
    async with TestCluster([Cart], silos=2) as cluster, dashboard_of(cluster) as dashboard:
        browser = await logged_in(dashboard, Level.VIEWER)
        assert (await browser.get("/api/traces")).json["off"] == ["silo-1", "silo-2"]
        assert (await browser.get("/api/logs")).json["off"] == ["silo-1", "silo-2"]


async def test_the_page_of_a_silo_tells_how_it_differs_and_its_connections() -> None:
    async with TestCluster([Cart], silos=2, viewer_token="secret-of-viewers") as cluster:
        await cluster.add_silo(runtime={"idle_timeout": 60.0}, operator_token="secret-of-operators")
        async with dashboard_of(cluster) as dashboard:
            browser = await logged_in(dashboard, Level.VIEWER)
            await cluster.advance(5)
            reply = await browser.get("/api/silos/silo-3")
            found = reply.json
            assert found["options"] == [
                {"name": "operator_token", "value": "***", "usual": ""},
                {"name": "runtime.idle_timeout", "value": "60.0", "usual": "not given"},
            ]
            assert "secret" not in reply.body.decode()
            to = {row["peer"]: row for row in found["connections"] if row["kind"] == "to silo"}
            assert {"silo-1", "silo-2"} >= set(to) != set()
            assert all(row["rtt"] >= 0 and row["queue"] == 0 for row in to.values())
            assert "client" in {row["kind"] for row in found["connections"]}
            assert (await browser.get("/api/silos/silo-1")).json["options"] == []


async def test_the_page_of_a_type_tells_the_options_in_force() -> None:
    class Slow(Grain, idle_timeout=90.0, mailbox_limit=5, reentrant=True):
        async def add(self) -> int:
            return 1

    async with TestCluster([Cart, Slow], silos=1) as cluster, dashboard_of(cluster) as dashboard:
        browser = await logged_in(dashboard, Level.VIEWER)
        slow = (await browser.get("/api/types/slow")).json["options"]
        assert slow == {
            "key": "str", "placement": "ring", "idle_timeout": "90 s", "reentrant": "yes", "mailbox_limit": "5",
        }  # fmt: skip
        cart = (await browser.get("/api/types/cart")).json["options"]
        assert (cart["idle_timeout"], cart["mailbox_limit"]) == ("900 s", "10000")


def test_a_range_of_versions_is_left_out_if_other_silos_tell_of_each() -> None:
    def changed(silo: str, time: int, version: int, first: int, member: str, why: str) -> dict[str, object]:
        facts = {"version": version, "first": first, "member": member, "status": "active", "change": "is active"}
        facts |= {"by": "10.0.0.1:1@1" if why else "an unknown silo", "why": why}
        return {"name": "membership_changed", "silo": silo, "time": time, "facts": facts}

    events = [
        changed("late", 9, 5, 3, "10.0.0.2:1@1", ""),
        changed("late", 9, 5, 3, "a row", ""),
        changed("near", 4, 4, 4, "10.0.0.2:1@1", "it joined"),
        changed("near", 3, 3, 3, "10.0.0.3:1@1", "it joined"),
        changed("near", 5, 5, 5, "10.0.0.4:1@1", "it joined"),
    ]
    rows = versions_of(events, {"10.0.0.2:1@1": "silo-2"})
    assert [(row["version"], row["silo"]) for row in rows] == [(5, "10.0.0.4:1@1"), (4, "silo-2"), (3, "10.0.0.3:1@1")]
    alone = versions_of(events[:2], {})
    assert [(row["first"], row["version"], row["silo"], row["by"]) for row in alone] == [
        (3, 5, "10.0.0.2:1@1", ""),
        (3, 5, "", ""),
    ]


async def test_a_cordoned_silo_is_shown_as_cordoned() -> None:
    async with TestCluster([Cart], silos=2) as cluster, dashboard_of(cluster) as dashboard:
        browser = await logged_in(dashboard, Level.OPERATOR)
        question = {"action": "cordon", "target": "silo-2", "silo": "silo-2", "reason": "test"}
        assert (await browser.post("/api/act", question)).json["outcome"] == "done"
        await cluster.advance(12)
        silos = (await browser.get("/api/silos")).json["silos"]
        assert {silo["name"]: silo["cordoned"] for silo in silos} == {"silo-1": False, "silo-2": True}
