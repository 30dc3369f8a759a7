"""Every page of the dashboard in a real browser: empty, full, with a silo down; and as each role."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from playwright.sync_api import BrowserContext

from tests.browser.conftest import Scene, Tab, end_scene, log_in, new_tab, start_scene
from tests.browser.hostile import TEXTS

PAGES = {
    "overview": "/",
    "silos": "/silos",
    "silo": "/silos/silo-1",
    "membership": "/membership",
    "grains": "/grains",
    "type": "/grains/cart",
    "stored": "/stored/cart",
    "activations": "/activations",
    "logs": "/logs",
    "traces": "/traces",
    "health": "/health",
    "actions": "/actions",
    "runbook": "/runbooks/turn_stuck",
}

WITH_ACTIVATION = {**PAGES, "activation": "/g/cart/held"}

ACTS = {
    ("silo", "operator"): [
        "Cordon …",
        "Uncordon …",
        "Drain …",
        "Collect idle …",
        "Log level …",
        "Suspend rebalancing …",
        "Resume rebalancing …",
        "Dump tasks …",
    ],
    ("type", "operator"): ["Deactivate all …"],
    ("activation", "operator"): ["Deactivate …", "Move …"],
}
"""The acts that a role has on a page; an admin has more, see `test_acts.py`. No other page has any."""


@pytest.fixture(scope="module")
def busy() -> object:
    """A cluster with 10,000 activations, calls, errors and a turn that is stuck."""
    scene = start_scene()
    scene.order("rows 10000")
    scene.order("load")
    yield scene
    end_scene(scene)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_of_an_empty_cluster(scene: Scene, context: BrowserContext, name: str) -> None:
    tab = log_in(context, scene)
    tab.open(PAGES[name])
    tab.check(f"empty-{name}")


@pytest.mark.parametrize("name", WITH_ACTIVATION)
def test_a_page_of_a_full_cluster(busy: Scene, context: BrowserContext, name: str) -> None:
    tab = log_in(context, busy)
    tab.open(WITH_ACTIVATION[name])
    tab.check(f"full-{name}")


@pytest.mark.parametrize("role", ["viewer", "operator"])
@pytest.mark.parametrize("name", WITH_ACTIVATION)
def test_a_page_as_another_role(busy: Scene, context: BrowserContext, name: str, role: str) -> None:
    tab = log_in(context, busy, role)
    tab.open(WITH_ACTIVATION[name])
    assert tab.page.locator(".who").text_content() == f"token:{role}, {role}"
    assert tab.page.locator(".acts button").all_inner_texts() == ACTS.get((name, role), [])
    tab.check(f"{role}-{name}")


def test_a_trace_is_shown_as_a_waterfall(busy: Scene, context: BrowserContext) -> None:
    tab = log_in(context, busy)
    tab.open("/traces")
    tab.page.locator("tbody tr", has_text="cart/add").first.locator("a").first.click()
    tab.page.get_by_text("storage").first.wait_for()
    tab.settle()
    tab.check("full-trace")


def test_the_page_of_acts_is_found_by_its_other_name(scene: Scene, context: BrowserContext) -> None:
    tab = log_in(context, scene)
    tab.open("/audit")
    assert tab.page.url == f"{scene.url}/actions"
    assert tab.page.locator("nav [aria-current=page]").inner_text() == "Actions"


def test_the_stream_of_a_page_comes_compressed(busy: Scene, context: BrowserContext) -> None:
    """And the browser shows each tick as it comes."""
    tab = log_in(context, busy)
    with tab.page.expect_response(lambda response: "/api/live" in response.url) as found:
        tab.open("/grains")
    assert found.value.headers["content-encoding"] == "gzip"
    tab.page.locator(".pulse", has_text="live").wait_for()


def test_a_page_is_painted_soon(busy: Scene, context: BrowserContext) -> None:
    """No test of time: `benchmarks/paint.py` measures it. It is painted without waiting for figures."""
    tab = log_in(context, busy)
    tab.open("/")
    paints = tab.evaluate("performance.getEntriesByType('paint').map((each) => each.name).join()")
    assert "first-contentful-paint" in paints


def test_a_grain_that_is_not_active_is_said_to_be_absent(busy: Scene, context: BrowserContext) -> None:
    tab = log_in(context, busy)
    tab.expected = ("404",)  # the browser itself reports the status of every reply
    tab.open("/g/cart/absent")
    tab.page.get_by_text("not there").first.wait_for()
    tab.check("absent-activation")


def test_a_wrong_token_shows_the_login(scene: Scene, context: BrowserContext) -> None:
    tab = new_tab(context, scene)
    tab.expected = ("401",)
    tab.page.goto(f"{scene.url}/#token=wrong")
    tab.page.locator("form").first.wait_for()
    assert "token" not in tab.page.url
    tab.check("login")


def test_the_token_does_not_stay_in_the_address(scene: Scene, context: BrowserContext) -> None:
    tab = log_in(context, scene)
    assert tab.page.url == f"{scene.url}/"
    assert tab.evaluate("document.cookie") == "", "no script may read the session"


@pytest.mark.parametrize("width", [320, 768])
def test_a_narrow_window_needs_no_sideways_scroll(busy: Scene, context: BrowserContext, width: int) -> None:
    tab = log_in(context, busy)
    tab.page.set_viewport_size({"width": width, "height": 800})
    for name in ("overview", "silos", "activations", "logs"):
        tab.open(PAGES[name])
        assert tab.evaluate("document.documentElement.scrollWidth") <= width, name
        tab.check(f"narrow-{width}-{name}")


@pytest.fixture(scope="module")
def hostile() -> object:
    scene = start_scene()
    scene.order("hostile")
    yield scene
    end_scene(scene)


def is_inert(tab: Tab) -> None:
    assert tab.evaluate("typeof window.hit") == "undefined"
    assert tab.page.locator("script:not([src])").count() == 0
    assert tab.page.locator("iframe, main img, [onerror], [onload]").count() == 0
    assert tab.page.locator("a[href^='javascript:' i]").count() == 0


@pytest.mark.parametrize("path", ["/activations", "/logs", "/", "/grains/cart"])
def test_hostile_texts_in_a_list_are_inert(hostile: Scene, context: BrowserContext, path: str) -> None:
    tab = log_in(context, hostile)
    tab.open(path)
    is_inert(tab)
    if path == "/activations":
        assert tab.page.get_by_text(TEXTS[0], exact=True).first.is_visible()
    if path == "/logs":
        tab.page.locator("main li, main tr").first.wait_for()
        assert f"note: {TEXTS[0]}" in tab.page.locator("main").inner_text()
    tab.check(f"hostile-{quote(path, safe='')}")


@pytest.mark.parametrize("text", TEXTS[:8])
def test_the_page_of_a_hostile_key_is_inert(hostile: Scene, context: BrowserContext, text: str) -> None:
    tab = log_in(context, hostile)
    tab.open(f"/g/cart/{quote(text, safe='')}")
    is_inert(tab)
    states = tab.page.locator("details summary")
    if states.count():
        states.first.click()
        tab.settle()
    is_inert(tab)
    assert tab.errors == []


def test_a_silo_down_is_shown_and_no_page_waits(context: BrowserContext) -> None:
    scene = start_scene()
    try:
        scene.order("load")
        tab = log_in(context, scene)
        tab.open("/silos")
        scene.order("kill")
        tab.page.get_by_text("no answer").first.wait_for()
        for name in PAGES:
            tab.open(PAGES[name])
            tab.check(f"down-{name}")
    finally:
        end_scene(scene)
