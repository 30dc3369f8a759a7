"""The dashboard in a process of its own, over a client: `grange dashboard`. It needs no silo on its machine."""

from __future__ import annotations

import asyncio
import hmac
import socket
from collections.abc import Callable, Collection, Mapping
from importlib.metadata import version

import msgspec
from starlette.types import ASGIApp

from grange.client.client import Client
from grange.dashboard.app import Dashboard
from grange.dashboard.cluster import ClientCluster
from grange.proto.acts import Level, of_level
from grange.proto.identity import Identity
from grange.silo.admin_app import HostCheck
from grange.silo.admin_server import HttpConfig, HttpServer
from grange.silo.dashboard_options import DashboardOptions


class Standing(msgspec.Struct, frozen=True):
    """What a dashboard of its own serves: `cluster` is its name, `tokens` open it.

    `actions` are the acts that it offers, and `hosts` further host names."""

    cluster: str
    tokens: Mapping[Level, str]
    options: DashboardOptions
    actions: Collection[str]
    hosts: Collection[str] = ()

    def __repr__(self) -> str:
        return f"Standing({self.cluster!r})"


async def serve(
    client: Client, standing: Standing, listening: socket.socket, stop: asyncio.Event, started: Callable[[], None]
) -> None:
    """Serve the dashboard on an open socket until `stop` is set. Calls `started` once it answers."""
    cluster = ClientCluster(client, standing.cluster)
    dashboard = Dashboard(cluster, standing.options, standing.actions, identity_by(standing.tokens), version("grange"))
    app: ASGIApp = HostCheck(dashboard.app, standing.hosts)
    server = HttpServer(HttpConfig(app))
    async with dashboard.app.router.lifespan_context(dashboard.app):
        serving = asyncio.create_task(server.serve([listening]))
        stopped = asyncio.create_task(stop.wait())
        try:
            started()
            await asyncio.wait((serving, stopped), return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
            dashboard.collector.live.close()  # the streams end, so that the connections can close
            server.end()
            await serving


def identity_by(tokens: Mapping[Level, str]) -> Callable[[str], Identity | None]:
    """Tells the identity of a token. The silos check that of the client again."""

    def identity_of(given: str) -> Identity | None:
        # Each is compared, so that the time tells nothing about the tokens.
        found = [level for level, known in tokens.items() if hmac.compare_digest(given.encode(), known.encode())]
        return of_level(max(found)) if found else None

    return identity_of
