"""docs/operations/http-api.md lists exactly the routes that exist."""

from __future__ import annotations

import re

from starlette.routing import Route

from grange.testing.loop import VirtualTime
from tests.architecture.sources import ROOT
from tests.dashboard.fakes import FakeCluster, shown


async def test_the_page_lists_every_route(time: VirtualTime) -> None:
    page = (ROOT / "docs" / "operations" / "http-api.md").read_text()
    written = set(re.findall(r"^\| `(GET|POST) (/api/[^`]*)` \|", page, re.MULTILINE))
    async with shown(FakeCluster(), time) as dashboard:
        routes = [route for route in dashboard.app.routes if isinstance(route, Route) and ":path" not in route.path]
        served = {(method, route.path) for route in routes for method in (route.methods or set()) - {"HEAD"}}
    assert written == served
