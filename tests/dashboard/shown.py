"""A cluster with its dashboard, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from grange import clock
from grange.dashboard.app import Dashboard
from grange.dashboard.cluster import ClientCluster
from grange.dashboard.options import DashboardOptions
from grange.proto.acts import Level
from grange.testing.cluster import TestCluster
from tests.dashboard.browser import Browser

TOKENS: Mapping[Level, str] = {Level.VIEWER: "view", Level.OPERATOR: "operate", Level.ADMIN: "administer"}


@asynccontextmanager
async def dashboard_of(cluster: TestCluster, **options: Any) -> AsyncGenerator[Dashboard]:
    utc_now = clock.utc_now if cluster.time is None else cluster.time.utc_now
    dashboard = Dashboard(
        ClientCluster(cluster.client, "default"), DashboardOptions(**options), lambda: TOKENS, "0", utc_now=utc_now
    )
    running = asyncio.create_task(dashboard.run())
    try:
        yield dashboard
    finally:
        dashboard.close()
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def logged_in(dashboard: Dashboard, level: Level = Level.ADMIN) -> Browser:
    browser = Browser(dashboard.app)
    await browser.log_in(TOKENS[level])
    return browser
