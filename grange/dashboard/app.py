"""The application of the dashboard: its routes, and the parts behind them. Open this file first."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

import msgspec
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from grange import clock
from grange.aio.tasks import Tasks
from grange.dashboard.actions import Actions
from grange.dashboard.cluster import WatchedCluster
from grange.dashboard.collector import Collector
from grange.dashboard.headers import Guard, cookie_name, cookie_of, holds_of, session_of
from grange.dashboard.journal_routes import JournalRoutes
from grange.dashboard.lists import Lists
from grange.dashboard.live import TooManyViewers
from grange.dashboard.login import SESSION_SECONDS, Logins, TooManyTries
from grange.dashboard.reminder_routes import ReminderRoutes
from grange.dashboard.replies import BadRequest, error_reply, json_reply, on_bad_request, read_body
from grange.dashboard.roles import ROLE_NAMES, permitted, switched_on
from grange.dashboard.stored import StoredRoutes
from grange.dashboard.views import is_view
from grange.proto.acts import Action
from grange.proto.identity import Identity
from grange.silo.dashboard_options import DashboardOptions

STATIC = Path(__file__).parent / "static"


LONGEST_LOGIN = 16 * 1024
"""Bytes of the body of a login: it comes without a login."""


class Login(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a login: a token, or a user and a password."""

    token: str = ""
    user: str = ""
    password: str = ""


class Dashboard:
    """The dashboard of one cluster. `app` is its application; it asks the silos during the lifespan of that.

    `identity_of` gives the identity of a token; None for an unknown one. `actions` are those that are switched on, `*`
    for all.
    """

    def __init__(
        self,
        cluster: WatchedCluster,
        options: DashboardOptions,
        actions: Collection[str],
        identity_of: Callable[[str], Identity | None],
        version: str,
        utc_now: Callable[[], datetime] = clock.utc_now,
    ) -> None:
        self._cluster = cluster
        self._options = options
        self._version = version
        self._on = switched_on(actions)
        self._logins = Logins(identity_of, options.users, options.roles)
        self.collector = Collector(cluster, utc_now)
        self.lists = Lists(cluster, self.collector)
        self.app = self._application()

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncGenerator[None]:
        """Ask the silos, until the end says `bye` on every stream."""
        tasks = Tasks()
        tasks.start(self.collector.run())
        try:
            yield
        finally:
            self.collector.live.close()
            await tasks.close()

    def _application(self) -> Starlette:
        return Starlette(
            routes=self._routes(),
            middleware=[Middleware(Guard, logins=self._logins), Middleware(GZipMiddleware, minimum_size=1000)],
            exception_handlers={BadRequest: on_bad_request},
            lifespan=self._lifespan,
        )

    def _routes(self) -> list[Route | Mount]:
        return [
            Route("/api/login", self._login, methods=["POST"]),
            Route("/api/logout", self._logout, methods=["POST"]),
            Route("/api/me", self._me),
            Route("/api/live", self._live),
            *self.lists.routes(),
            *StoredRoutes(self._cluster).routes(),
            *ReminderRoutes(self._cluster).routes(),
            *JournalRoutes(self._cluster, self.collector).routes(),
            *Actions(self._cluster, self._on).routes(),
            Mount("/static", StaticFiles(directory=STATIC, check_dir=False)),
            Route("/api/{rest:path}", _no_such_route, methods=["GET", "POST", "PUT", "DELETE", "PATCH"]),
            Route("/{rest:path}", _shell),
        ]

    async def _login(self, request: Request) -> Response:
        given = await read_body(request, Login, LONGEST_LOGIN)
        address = request.client.host if request.client else ""
        try:
            if given.token:
                cookie = await self._logins.by_token(given.token, address)
            else:
                cookie = await self._logins.by_password(given.user, given.password, address)
        except TooManyTries as error:
            reply = error_reply(429, str(error))
            reply.headers["retry-after"] = str(int(error.seconds) + 1)
            return reply
        if cookie is None:
            return error_reply(401, "wrong token, user or password")
        reply = Response(status_code=204)
        name = cookie_name(request.headers)
        by_tls = request.headers.get("origin", "").startswith("https:")  # a proxy before this port ends it
        reply.set_cookie(
            name, cookie, max_age=int(SESSION_SECONDS), path="/", secure=by_tls, httponly=True, samesite="strict"
        )
        return reply

    async def _logout(self, request: Request) -> Response:
        self._logins.end(cookie_of(request.headers))
        reply = Response(status_code=204)
        reply.delete_cookie(cookie_name(request.headers), path="/", httponly=True, samesite="strict")
        return reply

    async def _me(self, request: Request) -> Response:
        session = session_of(request)
        return json_reply({
            "user": session.user,
            "role": ROLE_NAMES[session.level],
            "actions": permitted(session.level, self._on),
            "cluster": self._cluster.name,
            "version": self._version,
            "dev": self._on == frozenset(Action),
        })  # fmt: skip

    async def _live(self, request: Request) -> Response:
        last = request.headers.get("last-event-id", request.query_params.get("after", ""))
        view = request.query_params.get("view", "overview")
        if not is_view(view):
            raise BadRequest("there is no such view", "view")
        try:
            return self.collector.live.open(request, view, holds_of(request), last)
        except TooManyViewers:
            return error_reply(503, "all streams of this dashboard are in use")


async def _shell(request: Request) -> Response:
    """Every page is the same file; the script in it shows the page that the URL names.

    Only a browser gets it: a probe or scrape with a misspelt path must not succeed.
    """
    if "text/html" not in request.headers.get("accept", "") and request.url.path != "/":
        return error_reply(404, "no such path; the probes are /livez, /readyz and /startupz, the figures are /metrics")
    if request.url.path == "/audit":  # people look for the acts and their audit by both names
        return RedirectResponse("/actions")
    if not (STATIC / "index.html").exists():
        return error_reply(404, "the pages of the dashboard are not part of this installation")
    return FileResponse(STATIC / "index.html")


async def _no_such_route(_: Request) -> Response:
    return error_reply(404, "no such route")
