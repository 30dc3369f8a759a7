"""A real Chromium on a real cluster. `make test-browser` installs what it needs; nothing is skipped without a word."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, CDPSession, ConsoleMessage, Page, Request, sync_playwright

from tests.architecture.sources import ROOT

HERE = Path(__file__).parent
SHOTS = HERE / "shots"
AXE = HERE / "node_modules" / "axe-core" / "axe.min.js"

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-default-apps", "--disable-extensions",
]  # fmt: skip

WIDTH, HEIGHT = 1280, 900


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.browser)


@dataclass
class Scene:
    """The process of `scene.py`."""

    process: subprocess.Popen[str]
    url: str
    tokens: dict[str, str]

    def order(self, order: str) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f"{order}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"


@dataclass
class Tab:
    """One page with all that it did wrong: errors on the console, requests to elsewhere, failed requests."""

    page: Page
    devtools: CDPSession
    base: str
    errors: list[str] = field(default_factory=list)
    expected: tuple[str, ...] = ()

    def watch(self) -> None:
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.errors.append(f"uncaught: {error}"))
        self.page.on("request", self._on_request)

    def open(self, path: str) -> None:
        self.page.goto(self.base + path)
        self.settle()

    def settle(self) -> None:
        """Wait until the page shows what it asked for."""
        self.page.locator("main h1").first.wait_for()
        self.page.locator(".pulse", has_text="live").wait_for()
        self.page.wait_for_selector(".state.loading:visible", state="detached")
        self.page.wait_for_selector("[aria-busy=true]", state="detached")

    def check(self, name: str) -> None:
        """No error, no request to elsewhere, no rule of axe broken; keep a picture in both themes."""
        for theme in ("light", "dark"):
            self.page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
            SHOTS.mkdir(exist_ok=True)
            self.page.screenshot(path=SHOTS / f"{name}-{theme}.png", full_page=True, animations="disabled")
            assert self.violations() == [], f"{name}, {theme}"
        assert [each for each in self.errors if not any(text in each for text in self.expected)] == [], name

    def violations(self) -> list[str]:
        """The rules of WCAG 2.2 AA that the page breaks, and where. axe comes by the debugger: no policy is off."""
        self.devtools.send("Runtime.evaluate", {"expression": AXE.read_text() + ";0"})
        tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
        run = f"axe.run({{runOnly: {json.dumps(tags)}}}).then((r) => JSON.stringify(r.violations))"
        done = self.devtools.send("Runtime.evaluate", {"expression": run, "awaitPromise": True, "returnByValue": True})
        found: list[dict[str, Any]] = json.loads(done["result"]["value"])
        return [
            f"{each['id']}: {node['html'][:200]} {node.get('failureSummary', '')}"
            for each in found
            for node in each["nodes"]
        ]

    def evaluate(self, expression: str) -> Any:
        done = self.devtools.send("Runtime.evaluate", {"expression": expression, "returnByValue": True})
        return done["result"].get("value")

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(f"{message.type}: {message.text} {message.location.get('url', '')}")

    def _on_request(self, request: Request) -> None:
        if not request.url.startswith((self.base, "data:")):
            self.errors.append(f"a request to elsewhere: {request.url}")


def start_scene() -> Scene:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.browser.scene"],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout
    facts = json.loads(process.stdout.readline())
    return Scene(process, facts["url"], facts["tokens"])


def end_scene(scene: Scene) -> None:
    assert scene.process.stdin
    assert scene.process.stdout
    scene.process.stdin.close()
    try:
        scene.process.wait(20)
    except subprocess.TimeoutExpired:
        scene.process.kill()
        scene.process.wait()
    scene.process.stdout.close()


@pytest.fixture(scope="session")
def chromium() -> Generator[Browser]:
    program = shutil.which("chromium")
    assert program, "the browser tests need Debian's chromium: scripts/install-programs chromium"
    assert AXE.exists(), "the browser tests need axe-core: npm ci in tests/browser, as make test-browser does"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def scene() -> Generator[Scene]:
    found = start_scene()
    yield found
    end_scene(found)


@pytest.fixture
def context(chromium: Browser) -> Generator[BrowserContext]:
    """A new profile."""
    with chromium.new_context(viewport={"width": WIDTH, "height": HEIGHT}) as found:
        found.set_default_timeout(15_000)
        yield found


def new_tab(context: BrowserContext, scene: Scene) -> Tab:
    page = context.new_page()
    tab = Tab(page, context.new_cdp_session(page), scene.url)
    tab.watch()
    return tab


def log_in(context: BrowserContext, scene: Scene, role: str = "admin") -> Tab:
    """A tab that came by the address that the command prints."""
    tab = new_tab(context, scene)
    tab.page.goto(f"{scene.url}/#token={scene.tokens[role]}")
    tab.settle()
    return tab
