"""Grafana's dashboards: generated from one description, and each query has data on a live cluster of two silos."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from deploy.source.dashboards import DASHBOARDS, FOLDER, Dashboard, as_json, file_of
from grange.client import Client
from grange.observability.metric import Kind
from grange.observability.metrics import METRICS
from tests.deploy.prometheus import PATIENCE, Prometheus, prometheus
from tests.deploy.test_alerts import NAME, alerts
from tests.processes.counters import Counter, Probe
from tests.processes.silo_process import Silos

VARIABLES = {"$job": ".+", "$instance": ".+", "$type": ".+", "$__rate_interval": "15s"}


def test_the_files_are_those_of_the_description() -> None:
    assert {path: path.read_text() for path in FOLDER.iterdir()} == {
        file_of(each): as_json(each) for each in DASHBOARDS
    }, "run: python -m deploy.source.dashboards"


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda each: each.uid)
def test_a_dashboard_is_what_grafana_reads(dashboard: Dashboard) -> None:
    model = json.loads(as_json(dashboard))
    ids = [panel["id"] for panel in model["panels"]]
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in model["panels"]]
    assert len(set(ids)) == len(set(places)) == len(ids)
    variables = {each["name"] for each in model["templating"]["list"]}
    for panel in model["panels"]:
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
        for target in panel["targets"]:
            assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            used = {word for word in ("job", "instance", "type") if f"${word}" in target["expr"]}
            assert used <= variables, target["expr"]


def test_queries_name_metrics_that_exist() -> None:
    known = {metric.name for metric in METRICS if metric.kind is not Kind.HISTOGRAM}
    known |= {f"{m.name}_{part}" for m in METRICS if m.kind is Kind.HISTOGRAM for part in ("bucket", "count", "sum")}
    for dashboard in DASHBOARDS:
        for panel in dashboard.panels:
            for query in panel.queries:
                assert set(NAME.findall(query.expr)) <= known, query.expr


def test_every_metric_is_on_a_dashboard_or_in_an_alert() -> None:
    shown = " ".join(query.expr for each in DASHBOARDS for panel in each.panels for query in panel.queries)
    shown += " ".join(rule["expr"] for rule in alerts())
    assert [metric.name for metric in METRICS if metric.name not in shown] == []


def filled(expr: str) -> str:
    for name, value in VARIABLES.items():
        expr = expr.replace(name, value)
    return expr


@asynccontextmanager
async def load(gateway: str) -> AsyncGenerator[None]:
    """Calls without a pause: with state, from silo to silo, and many at once to one grain."""

    async def call(client: Client) -> None:
        for number in itertools.count():
            await asyncio.gather(*(client.get_grain(Counter, f"c{number % 50}").add() for _ in range(5)))
            await client.get_grain(Probe, f"p{number}").pid_of(f"q{number}")
            await client.get_grain(Counter, f"new-{number}").total()
            await asyncio.sleep(0.02)

    async with Client([gateway]) as client:
        calling = asyncio.create_task(call(client))
        try:
            yield
            assert not calling.done(), calling.result()
        finally:
            calling.cancel()
            await asyncio.wait([calling])


async def has_data(server: Prometheus, expr: str) -> bool:
    return any(math.isfinite(float(series["value"][1])) for series in await server.query(filled(expr)))


@pytest.mark.tools
@pytest.mark.processes
async def test_every_query_has_data_on_a_live_cluster(tmp_path: Path) -> None:
    """Only the panels that say so are empty without a fault; and no alert rule is broken, nor does one fire."""
    (tmp_path / "prometheus").mkdir()
    silos = Silos(tmp_path)
    try:
        facts = [await (await silos.start("--http", "0")).active() for _ in range(2)]
        targets = [each["http"] for each in facts]
        async with load(facts[0]["gateway"]), prometheus(targets, tmp_path / "prometheus") as server:
            waiting = {q.expr for each in DASHBOARDS for p in each.panels if p.is_always_filled for q in p.queries}
            try:
                async with asyncio.timeout(PATIENCE):
                    while waiting := {expr for expr in waiting if not await has_data(server, expr)}:
                        await asyncio.sleep(0.5)
            except TimeoutError:
                pytest.fail("no data for:\n" + "\n".join(sorted(map(filled, waiting))))
            for panel in (p for each in DASHBOARDS for p in each.panels if not p.is_always_filled):
                for query in panel.queries:
                    await server.query(filled(query.expr))  # Prometheus can read it
            rules = await server.rules()
            assert {rule["name"] for rule in rules} == {rule["alert"] for rule in alerts()}
            assert {rule["name"]: rule["lastError"] for rule in rules if rule.get("lastError")} == {}
            assert [rule["name"] for rule in rules if rule["state"] == "firing"] == []
    finally:
        await silos.close()
