"""The HTTP answers of the admin port: the probes of supervisors, and the pages. It runs in the admin thread.

`/livez`, `/readyz` and `/startupz` are open to all that reach the port, so they tell nothing about grains.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection

import msgspec
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from grange.silo.health import Checks, Health, UnknownCheck, without

_HEADERS = {"cache-control": "no-store", "x-content-type-options": "nosniff"}


class HostCheck:
    """Refuses a request whose Host header names none of the `allowed` hosts.

    A page of another site can let its own name mean this machine (DNS rebinding) and would then be of one origin with
    the pages here. An address in the header cannot be of another site, so addresses pass.
    """

    def __init__(self, app: ASGIApp, allowed: Collection[str]) -> None:
        self._app = app
        self._allowed = frozenset(name.lower() for name in allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI: pass the request on, or answer 421."""
        hosts = [value.decode("latin-1") for name, value in scope.get("headers", ()) if name == b"host"]
        if scope["type"] == "http" and not (len(hosts) == 1 and self._is_allowed(hosts[0])):
            refusal = PlainTextResponse(
                f"this port does not answer as host {', '.join(hosts)!a:.100}; the option http_hosts allows a name\n",
                421, _HEADERS,
            )  # fmt: skip
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _is_allowed(self, host: str) -> bool:
        name = host.rpartition("]")[0][1:] if host.startswith("[") else host.partition(":")[0]
        if name.lower() in self._allowed:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def admin_app(health: Health, pages: ASGIApp, hosts: Collection[str]) -> Starlette:
    """The application of the admin port. `pages` gets what is not answered here."""
    routes: list[BaseRoute] = [
        _probe("/livez", health.live),
        _probe("/readyz", health.ready),
        _probe("/startupz", health.started),
        Mount("/", pages),
    ]
    return Starlette(routes=routes, middleware=[Middleware(HostCheck, allowed=hosts)])


def _probe(path: str, checks: Callable[[], Checks]) -> Route:
    """One probe: 200 if every check passes, else 503. `?verbose` shows the checks that pass, too."""

    async def answer(request: Request) -> Response:
        try:
            excluded = request.query_params.getlist("exclude")
            made = without(checks(), excluded)
        except UnknownCheck as error:
            return _json({"error": {"message": str(error), "field": "exclude"}}, 400)
        failed = {name: check for name, check in made.items() if not check.ok}
        shown = made if "verbose" in request.query_params else failed
        return _json({"ok": not failed, "checks": shown}, 503 if failed else 200)

    return Route(path, answer, methods=["GET"])


def _json(body: object, status: int) -> Response:
    return Response(msgspec.json.encode(body), status, _HEADERS, "application/json")
