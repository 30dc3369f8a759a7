"""The dashboard's list of reminders and jobs, and its acts on them, on a real cluster on a memory network."""

from __future__ import annotations

from typing import Any

from grange import Grain, Job, Retry, Tick
from grange.proto.acts import Level
from grange.testing.cluster import TestCluster
from tests.dashboard.shown import dashboard_of, logged_in


class Bell(Grain, name="bell"):
    def __init__(self) -> None:
        self.broken = True

    async def start(self, due: float) -> None:
        await self.reminders.set("ring", due, every=3600, payload="secret")

    async def give(self) -> None:
        await self.jobs.schedule(self.reference, name="mail", retry=Retry(attempts=1))

    async def repair(self) -> None:
        self.broken = False

    async def on_reminder(self, tick: Tick) -> None: ...

    async def on_job(self, job: Job) -> None:
        if self.broken:
            raise ValueError("the bell is broken")


async def test_reminders_are_listed_by_due_time_and_cancelled() -> None:
    """Of all silos, without payloads; the silo of a row cancels it."""
    async with TestCluster([Bell], silos=3) as cluster, dashboard_of(cluster) as dashboard:
        for number in range(6):
            await cluster.get_grain(Bell, f"b{number}").start(200 - number)
        await cluster.get_grain(Bell, "far").start(5000)
        browser = await logged_in(dashboard, Level.OPERATOR)
        answer = await browser.get("/api/reminders")
        rows = answer.json["rows"]
        assert [row["key"] for row in rows] == ["b5", "b4", "b3", "b2", "b1", "b0"]
        assert {row["silo"] for row in rows} <= {silo.name for silo in cluster.silos}
        assert "secret" not in str(answer.json)
        assert len((await browser.get("/api/reminders?within=10000")).json["rows"]) == 7
        one = (await browser.get("/api/reminders?type=bell&key=far")).json["rows"]
        assert [(row["name"], row["schedule"]) for row in one] == [("ring", "every 3600 s")]
        question: dict[str, Any] = {
            "action": "cancel reminder", "target": "bell/b0", "silo": rows[-1]["silo"], "values": {"name": "ring"},
        }  # fmt: skip
        preview = (await browser.post("/api/act", {**question, "preview": True})).json
        assert preview["outcome"] == "previewed"
        done = (await browser.post("/api/act", {**question, "reason": "r"})).json
        assert done["outcome"] == "done", done
        assert len((await browser.get("/api/reminders")).json["rows"]) == 5
        viewer = await logged_in(dashboard, Level.VIEWER)
        assert (await viewer.post("/api/act", {**question, "reason": "r"})).status == 403


async def test_a_parked_job_is_listed_with_its_error_and_retried() -> None:
    """By the silo of its row."""
    async with TestCluster([Bell], silos=2) as cluster, dashboard_of(cluster) as dashboard:
        bell = cluster.get_grain(Bell, "b")
        await bell.give()
        await cluster.advance(2)
        browser = await logged_in(dashboard, Level.OPERATOR)
        assert (await browser.get("/api/reminders")).json["rows"] == []
        (row,) = (await browser.get("/api/reminders?parked=true")).json["rows"]
        assert (row["job"], row["left"], row["error"]) == ("mail", None, "ValueError: the bell is broken")
        await bell.repair()
        question = {
            "action": "retry reminder", "target": "bell/b", "silo": row["silo"], "values": {"name": row["name"]},
            "reason": "r",
        }  # fmt: skip
        assert (await browser.post("/api/act", question)).json["outcome"] == "done"
        await cluster.advance(2)
        assert (await browser.get("/api/reminders?type=bell&key=b")).json["rows"] == []
