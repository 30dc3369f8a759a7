"""Guards every request: the origin and the login; and adds the security headers to every response.

The login is required by default: a new route below `/api` needs nothing to be closed. The host of a request is checked
before, by `silo/admin_app.py: HostCheck`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http.cookies import CookieError, SimpleCookie
from types import MappingProxyType

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from grange.dashboard.login import Logins, Session
from grange.dashboard.replies import error_reply

OPEN = frozenset({"/api/login"})
"""The routes below `/api` that need no login."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types"
    " 'none'"
)

HEADERS: Mapping[str, str] = MappingProxyType({
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "x-frame-options": "DENY",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
})  # fmt: skip

SESSION = "grange.session"
"""The key of the session in the scope of a request."""

HOLDS = "grange.session_holds"
"""The key of the function that tells whether the session of a request holds yet."""

_SAFE_METHODS = frozenset({"GET", "HEAD"})


def session_of(request: Request) -> Session:
    """The session of a request that the guard let through."""
    session = request.scope[SESSION]
    assert isinstance(session, Session)
    return session


def holds_of(request: Request) -> Callable[[], bool]:
    """Tells whether the session of a request holds yet: a stream lasts longer than the moment of its request."""
    holds: Callable[[], bool] = request.scope[HOLDS]
    return holds


def cookie_name(request: Headers) -> str:
    """The name of the cookie: cookies ignore ports, and several dashboards may run on one machine."""
    port = request.get("host", "").rpartition("]")[2].rpartition(":")[2]
    return f"grange-session-{port if port.isdecimal() else 'default'}"


def cookie_of(request: Headers) -> str:
    """The session's cookie in a request; empty if there is none."""
    try:
        found = SimpleCookie(request.get("cookie", "")).get(cookie_name(request))
    except CookieError:
        return ""
    return found.value if found is not None else ""


class Guard:
    """The outermost layer of the dashboard's application."""

    def __init__(self, app: ASGIApp, logins: Logins) -> None:
        self._app = app
        self._logins = logins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI: refuse the request, or pass it on with its session."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        assert scope["type"] == "http", "the dashboard has no web sockets"
        is_api = scope["path"].startswith("/api/")

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers.setdefault("cache-control", "no-store" if is_api else "no-cache")
            await send(message)

        refusal = self._refusal(scope)
        await (refusal or self._app)(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> ASGIApp | None:
        headers = Headers(scope=scope)
        is_link = scope["method"] in _SAFE_METHODS and _is_link_to_page(headers, scope["path"])
        if not is_link and not _same_origin(headers, scope["method"] in _SAFE_METHODS):
            return error_reply(403, "the request comes from another site")
        if scope["method"] not in _SAFE_METHODS and not _is_json(headers):
            return error_reply(415, "send JSON")
        if not scope["path"].startswith("/api") or scope["path"] in OPEN:
            return None
        cookie = cookie_of(headers)
        session = self._logins.session(cookie)
        if session is None:
            return error_reply(401, "log in first")
        scope[SESSION] = session
        scope[HOLDS] = lambda: self._logins.session(cookie) is not None
        return None


def _same_origin(headers: Headers, is_safe: bool) -> bool:
    """A browser states where a request comes from. A program that states nothing may only read."""
    site, origin, host = headers.get("sec-fetch-site"), headers.get("origin"), headers.get("host", "").lower()
    if origin is not None and origin.lower() not in (f"http://{host}", f"https://{host}"):
        return False
    if site is not None:
        return site == "same-origin" or (is_safe and site == "none")
    return is_safe or origin is not None


def _is_link_to_page(headers: Headers, path: str) -> bool:
    """Whether a link on another site, as in a message about an alarm, leads here. A page shows no data by itself."""
    is_navigation = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    return is_navigation and not path.startswith("/api")


def _is_json(headers: Headers) -> bool:
    return headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json"
