"""A cluster with its dashboard, in virtual time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Any

from grange import clock
from grange.dashboard.app import Dashboard
from grange.dashboard.cluster import ClientCluster
from grange.proto.acts import Level, of_level
from grange.proto.identity import Identity
from grange.silo.config import SiloConfig
from grange.silo.dashboard_options import DashboardOptions
from grange.testing.cluster import TestCluster
from tests.dashboard.browser import Browser

ACTIONS = SiloConfig.model_fields["actions"].default

TOKENS: Mapping[Level, str] = {Level.VIEWER: "view", Level.OPERATOR: "operate", Level.ADMIN: "administer"}


@asynccontextmanager
async def dashboard_of(
    cluster: TestCluster, actions: Collection[str] = ACTIONS, **options: Any
) -> AsyncGenerator[Dashboard]:
    utc_now = clock.utc_now if cluster.time is None else cluster.time.utc_now
    dashboard = Dashboard(
        ClientCluster(cluster.client, "default"),
        DashboardOptions(**options),
        actions,
        identity_of,
        "0",
        utc_now=utc_now,
    )
    async with dashboard.app.router.lifespan_context(dashboard.app):
        yield dashboard


def identity_of(token: str) -> Identity | None:
    return next((of_level(level) for level, expected in TOKENS.items() if token == expected), None)


async def logged_in(dashboard: Dashboard, level: Level = Level.ADMIN) -> Browser:
    browser = Browser(dashboard.app)
    await browser.log_in(TOKENS[level])
    return browser
