"""The HTTP answers of the admin port: the probes of supervisors, and the pages. It runs in the admin thread.

`/livez`, `/readyz` and `/startupz` are open to all that reach the port, so they tell nothing about grains.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from typing import cast

import msgspec
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from grange.errors import CallNotExecuted, CallOutcomeUnknown
from grange.observability.prometheus import OPENMETRICS, TEXT, exemplars_of, openmetrics_text, prometheus_text
from grange.proto.acts import Level, level_of
from grange.proto.journal import TRACES, After, RootRow, Traces
from grange.security.certificate import Certificate
from grange.silo.access import SiloAccess
from grange.silo.health import Checks, Health, UnknownCheck, without
from grange.silo.option_values import is_loopback

_HEADERS = {"cache-control": "no-store", "x-content-type-options": "nosniff"}

EXEMPLAR_AGE = 60.0
"""Seconds for which the slowest request of a method is its exemplar; Prometheus scrapes several times in that time."""

CERTIFICATE = "certificate"
"""The certificate of the client, or None, in the state of a request: `request.state.certificate`."""

MAX_TRACES = 200
"""Traces among which a scrape looks for exemplars, the newest ones."""

FRESH_TIMEOUT = 0.5
"""Seconds in which a scrape waits for new figures of the silo; then it takes those that were published."""


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


def admin_app(health: Health, access: Future[SiloAccess], pages: ASGIApp, hosts: Collection[str]) -> Starlette:
    """The application of the admin port. `access` is done once the silo exists; `pages` get all other paths."""
    routes: list[BaseRoute] = [
        _probe("/livez", health.live),
        _probe("/readyz", health.ready),
        _probe("/startupz", health.started),
        _metrics(access),
        Mount("/", pages),
    ]
    return Starlette(routes=routes, middleware=[Middleware(HostCheck, allowed=hosts)])


def _metrics(known: Future[SiloAccess]) -> Route:
    """The figures, for a program of this machine or with a token of a viewer. They name grain types and methods."""

    async def answer(request: Request) -> Response:
        if not known.done():
            return PlainTextResponse("the silo starts\n", 503, _HEADERS)
        access = known.result()
        if not is_from_here(request) and level_of_request(request, access) < Level.VIEWER:
            return PlainTextResponse(
                "from another machine this needs `Authorization: Bearer TOKEN`, with the option viewer_token\n",
                401, {**_HEADERS, "www-authenticate": "Bearer"},
            )  # fmt: skip
        figures = await access.fresh(FRESH_TIMEOUT)
        if "application/openmetrics-text" in request.headers.get("accept", ""):
            exemplars = exemplars_of(await _traces(access), figures.time - EXEMPLAR_AGE)
            return Response(openmetrics_text(figures, exemplars), 200, _HEADERS, OPENMETRICS)
        return Response(prometheus_text(figures), 200, _HEADERS, TEXT)

    return Route("/metrics", answer, methods=["GET"])


async def _traces(access: SiloAccess) -> Sequence[RootRow]:
    """The newest traces of this silo; none if it traces nothing, or does not answer now."""
    question = msgspec.msgpack.encode(After(limit=MAX_TRACES))
    try:
        answer = await access.ask(access.address, TRACES, question, FRESH_TIMEOUT)
    except (CallNotExecuted, CallOutcomeUnknown):
        return ()
    return msgspec.msgpack.decode(answer, type=Traces).roots


def is_from_here(request: Request) -> bool:
    """Whether a program of this machine asks for itself: a proxy here passes on what others ask."""
    passed_on = any(name in request.headers for name in ("forwarded", "x-forwarded-for", "x-real-ip", "via"))
    return request.client is not None and is_loopback(request.client.host) and not passed_on


def level_of_request(request: Request, access: SiloAccess) -> Level:
    """The level of a request: that of its token, or that of the client's certificate if it is higher."""
    certificate = certificate_of(request)
    shown = None if certificate is None else access.identity_of_certificate(certificate)
    return max(level_of(access.identity_of(bearer_token(request))), level_of(shown))


def certificate_of(request: Request) -> Certificate | None:
    """The certificate of the client; None without TLS, and if it has shown none."""
    return cast("Certificate | None", getattr(request.state, CERTIFICATE, None))


def bearer_token(request: Request) -> str:
    """The token of the Authorization header; empty if there is none."""
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""


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
