"""Routes are closed without a login, and to other sites and hosts; responses have the security headers (S10)."""

from __future__ import annotations

import re

import pytest
from starlette.routing import Route

from grange import Grain
from grange.dashboard.app import LONGEST_LOGIN, Dashboard
from grange.dashboard.headers import HEADERS
from grange.testing.cluster import TestCluster
from tests.dashboard.browser import HOST, Browser
from tests.dashboard.shown import dashboard_of, logged_in


class Cart(Grain):
    async def touch(self) -> None: ...


def api_routes(dashboard: Dashboard) -> list[tuple[str, str]]:
    """(method, path) of every route below /api."""
    found = [route for route in dashboard.app.routes if isinstance(route, Route) and route.path.startswith("/api")]
    return [
        (method, re.sub(r"\{.*?\}", "x", route.path))
        for route in found
        for method in sorted(route.methods or ())
        if method != "HEAD"
    ]


async def test_every_route_without_login_answers_401() -> None:
    async with TestCluster([Cart], silos=1) as cluster, dashboard_of(cluster) as dashboard:
        routes = api_routes(dashboard)
        assert len(routes) > 7
        stranger = Browser(dashboard.app)
        for method, path in routes:
            if path == "/api/login":
                continue
            for cookies in ({}, {"grange-session-8080": "forged"}, {"grange-session-8080": ""}):
                stranger.cookies = dict(cookies)
                headers = {"content-type": "application/json", "sec-fetch-site": "same-origin"}
                reply = await stranger.request(method, path, b"{}", headers)
                assert reply.status == 401, (method, path, reply.status)
                assert set(reply.json) == {"error"}


async def test_every_response_has_the_security_headers() -> None:
    async with TestCluster([Cart], silos=1) as cluster, dashboard_of(cluster) as dashboard:
        browser = await logged_in(dashboard)
        for url, status in (("/", None), ("/static/none.js", 404), ("/api/me", 200), ("/api/none", 404)):
            reply = await browser.get(url)
            assert status is None or reply.status == status
            assert HEADERS.items() <= reply.headers.items(), url
            assert reply.headers["cache-control"] == ("no-store" if url.startswith("/api") else "no-cache")
    policy = HEADERS["content-security-policy"]
    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none'; ")
    assert "require-trusted-types-for 'script'" in policy


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example", "sec-fetch-site": "cross-site"},
        {"origin": "http://evil.example", "sec-fetch-site": ""},
        {"origin": "null", "sec-fetch-site": "same-origin"},
        {"origin": "http://127.0.0.1:9999", "sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
        {"sec-fetch-site": "same-site", "origin": f"http://{HOST}"},
    ],
)
async def test_a_request_from_another_site_is_refused(headers: dict[str, str]) -> None:
    async with TestCluster([Cart], silos=1) as cluster, dashboard_of(cluster) as dashboard:
        browser = await logged_in(dashboard)
        for url in ("/api/logout", "/api/login"):
            assert (await browser.post(url, {"token": "view"}, headers)).status == 403
        assert (await browser.get("/api/me")).status == 200


async def test_a_link_on_another_site_opens_a_page_and_nothing_else() -> None:
    link = {
        "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document",
        "accept": "text/html,*/*;q=0.8",
    }  # fmt: skip
    async with TestCluster([Cart], silos=1) as cluster, dashboard_of(cluster) as dashboard:
        browser = await logged_in(dashboard)
        assert (await browser.get("/silos", link)).status == 200
        for url, headers in (
            ("/api/me", link),
            ("/silos", {**link, "sec-fetch-dest": "iframe"}),
            ("/silos", {**link, "sec-fetch-mode": "no-cors"}),
            ("/static/main.js", {"sec-fetch-site": "cross-site"}),
        ):
            assert (await browser.get(url, headers)).status == 403, (url, headers)
        assert (await browser.post("/silos", None, link)).status == 403


async def test_a_misspelt_probe_does_not_get_a_page() -> None:
    async with TestCluster([Cart], silos=1) as cluster, dashboard_of(cluster) as dashboard:
        browser = Browser(dashboard.app)
        for path in ("/healthz", "/livez/", "/metrics/", "//api/silos"):
            assert (await browser.get(path, {"accept": "*/*"})).status == 404
        for path in ("/", "/activations", "/types/a%2Fb"):
            assert (await browser.get(path, {"accept": "text/html,application/xhtml+xml"})).status == 200
        assert (await browser.get("/")).status == 200


async def test_a_program_that_names_no_site_must_name_its_origin_and_send_json() -> None:
    async with TestCluster([Cart], silos=1) as cluster, dashboard_of(cluster) as dashboard:
        browser = Browser(dashboard.app)
        content, json = b'{"token": "view"}', {"content-type": "application/json"}
        for headers, status in (
            (json, 403),
            ({"origin": f"http://{HOST}"}, 415),
            ({"origin": f"http://{HOST}", "content-type": "text/plain"}, 415),
            ({"origin": f"http://{HOST}", "content-type": "application/x-www-form-urlencoded"}, 415),
            ({"origin": f"http://{HOST}", **json}, 204),
        ):
            assert (await browser.request("POST", "/api/login", content, headers)).status == status


NESTED = b'{"other": ' + b"[" * 8_000 + b"]" * 8_000 + b"}"


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{", b'{"token": 1}', b'{"token": null}', b"\xff", b"9" * 20_000, NESTED]
)
async def test_a_wrong_body_is_a_bad_request(content: bytes) -> None:
    async with TestCluster([Cart], silos=1) as cluster, dashboard_of(cluster) as dashboard:
        headers = {"content-type": "application/json", "sec-fetch-site": "same-origin"}
        reply = await Browser(dashboard.app).request("POST", "/api/login", content, headers)
        assert reply.status == (413 if len(content) > LONGEST_LOGIN else 400)
        if b"token" in content:
            assert reply.json["error"]["field"] == "token"
