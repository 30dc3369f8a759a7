"""The admin port: probes that answer at any time, hosts, pages, and the end."""

from __future__ import annotations

import asyncio
import http.client
import logging
import re
import threading
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import grpc.aio
import httpx2
import msgspec
import pytest
import svcs
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

from grange import Grain
from grange.client import Client
from grange.errors import ConfigurationError, OptionError
from grange.observability import Telemetry
from grange.observability.log_context import LimitedLines
from grange.observability.metrics import METRICS
from grange.proto.acts import ACT, Act, Acted, Action
from grange.proto.management import STATUS, SiloState
from grange.servers.process import free_port
from grange.silo import admin_server
from grange.silo.access import SiloAccess
from grange.silo.admin_app import is_from_here
from grange.silo.config import SiloConfig
from grange.silo.environment import ConfiguredEnvironment
from grange.silo.silo import Silo
from grange.testing.cluster import KeywordConfig, TestCluster


class Blocker(Grain, key=str):
    """Its turn blocks the event loop of the silo until the admin port has answered."""

    async def ask(self, place: str, path: str) -> int:
        connection = http.client.HTTPConnection(place, timeout=30)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        finally:
            connection.close()


class Turn:
    """A turn that lasts until the test ends it."""

    def __init__(self) -> None:
        self.began, self.end = asyncio.Event(), asyncio.Event()

    @property
    def services(self) -> svcs.Registry:
        registry = svcs.Registry()
        registry.register_value(Turn, self)
        return registry


class Waiter(Grain, key=str):
    def __init__(self, turn: Turn) -> None:
        self._turn = turn

    async def wait(self) -> None:
        self._turn.began.set()
        await self._turn.end.wait()


class Idle(Grain, key=str):
    async def touch(self) -> None: ...


def silo_with_http(folder: Path, turn: Turn | None = None, **options: Any) -> Silo:
    config = KeywordConfig(
        **{"port": 0, "gateway_port": 0, "http": 0, "membership": "memory://", "storage": "memory://", "data": folder}
        | options
    )
    return Silo([Idle, Blocker, Waiter], services=(turn or Turn()).services, config=config)


def base(silo: Silo) -> str:
    return f"http://{silo.http}"


async def get(url: str, **options: Any) -> httpx2.Response:
    async with httpx2.AsyncClient(trust_env=False) as client:
        return await client.get(url, **options)


async def test_probes_answer_by_check(tmp_path: Path) -> None:
    async with silo_with_http(tmp_path) as silo:
        for path in ("/livez", "/readyz", "/startupz"):
            answer = await get(base(silo) + path)
            assert (answer.status_code, answer.json()) == (200, {"ok": True, "checks": {}})
        verbose = (await get(base(silo) + "/readyz?verbose")).json()
        assert set(verbose["checks"]) == {"active", "ranges", "draining", "fenced"}
        assert all(check["ok"] and check["text"] for check in verbose["checks"].values())


async def test_a_check_can_be_excluded_and_a_misspelt_one_is_named(tmp_path: Path) -> None:
    async with silo_with_http(tmp_path) as silo:
        verbose = (await get(base(silo) + "/readyz?verbose&exclude=fenced&exclude=active&exclude=ranges")).json()
        assert set(verbose["checks"]) == {"draining"}
        wrong = await get(base(silo) + "/livez?exclude=lop")
        assert wrong.status_code == 400
        assert "lop" in wrong.json()["error"]["message"]
        assert wrong.json()["error"]["field"] == "exclude"


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/startupz"])
async def test_probes_answer_while_a_turn_blocks_the_silo(tmp_path: Path, path: str) -> None:
    async with silo_with_http(tmp_path) as silo:
        assert await silo.get_grain(Blocker, "a").ask(silo.http, path) == 200


async def test_a_silo_that_drains_is_live_and_not_ready(tmp_path: Path) -> None:
    turn = Turn()
    async with silo_with_http(tmp_path, turn=turn) as silo:
        url = base(silo)
        call = asyncio.create_task(silo.get_grain(Waiter, "a").wait())
        await turn.began.wait()
        stop = asyncio.create_task(silo.stop())
        while (await get(url + "/readyz")).status_code == 200:
            pass
        ready = (await get(url + "/readyz")).json()
        assert not ready["checks"]["draining"]["ok"]
        assert (await get(url + "/livez")).status_code == 200
        assert (await get(url + "/startupz")).status_code == 200
        turn.end.set()
        await call
        await stop


async def test_health_checks_of_grpc_follow_readiness(tmp_path: Path) -> None:
    serving, not_serving = b"\x08\x01", b"\x08\x02"
    turn = Turn()
    async with silo_with_http(tmp_path, turn, http="off") as silo, grpc.aio.insecure_channel(silo.gateway) as channel:
        watch = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"")
        assert await watch.read() == serving
        call = asyncio.create_task(silo.get_grain(Waiter, "a").wait())
        await turn.began.wait()
        stop = asyncio.create_task(silo.stop())
        assert await watch.read() == not_serving  # while a call still runs
        assert not stop.done()
        turn.end.set()
        await call
        await stop


class SlowStart(ConfiguredEnvironment):
    """Its stores open when the test lets them."""

    def __init__(self, config: SiloConfig) -> None:
        super().__init__(config)
        self.asked, self.open = asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def table(self) -> AsyncGenerator[Any]:
        self.asked.set()
        await self.open.wait()
        async with super().table() as table:
            yield table


async def test_probes_answer_while_the_silo_starts(tmp_path: Path) -> None:
    silo = silo_with_http(tmp_path, http=free_port())
    config = silo.definition().config
    environment = SlowStart(config)
    start = asyncio.create_task(silo.start(environment))
    await environment.asked.wait()
    url = f"http://127.0.0.1:{config.http}"
    assert [(await get(url + path)).status_code for path in ("/livez", "/startupz", "/readyz", "/")] == [
        200, 503, 503, 503
    ]  # fmt: skip
    environment.open.set()
    await start
    assert [(await get(url + path)).status_code for path in ("/livez", "/startupz", "/readyz")] == [200, 200, 200]
    await silo.stop()


async def test_a_foreign_host_is_refused(tmp_path: Path) -> None:
    async with silo_with_http(tmp_path, http_hosts=("ops.example",)) as silo:
        for host in ("ops.example", "OPS.example:8080", "localhost:1", "127.0.0.1", "[::1]:80", "10.1.2.3"):
            assert (await get(base(silo) + "/livez", headers={"host": host})).status_code == 200
        for host in ("evil.example", "localhost.evil.example", "", "127.0.0.1.evil.example", "[evil", "ops.example.:1"):
            refused = await get(base(silo) + "/livez", headers={"host": host})
            assert refused.status_code == 421, host
            assert "http_hosts" in refused.text


async def test_bad_requests_do_not_flood_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.handler.addFilter(limited := LimitedLines())
    try:
        async with silo_with_http(tmp_path) as silo:
            for _ in range(20):
                reader, writer = await connect(silo, b"garbage\r\n\r\n")
                await until_closed(reader)
                writer.close()
                await writer.wait_closed()
    finally:
        caplog.handler.removeFilter(limited)
    assert sum("Invalid HTTP request" in record.getMessage() for record in caplog.records) == 10


async def test_another_program_keeps_its_loggers(tmp_path: Path) -> None:
    """uvicorn would take the handlers of its access log away, also from a server of the user's program."""
    logger, handler = logging.getLogger("uvicorn.access"), logging.NullHandler()
    logger.addHandler(handler)
    try:
        async with silo_with_http(tmp_path) as silo:
            assert (await get(base(silo) + "/livez")).status_code == 200
        assert (logger.handlers, logger.propagate) == ([handler], True)
    finally:
        logger.removeHandler(handler)


async def test_no_admin_port_without_the_option(tmp_path: Path) -> None:
    async with silo_with_http(tmp_path, http="off") as silo:
        assert silo.http == ""
        assert not [thread for thread in threading.enumerate() if thread.name == "grange-admin"]


async def test_the_thread_ends_with_the_silo(tmp_path: Path) -> None:
    async with silo_with_http(tmp_path) as silo:
        url = base(silo)
        assert [thread for thread in threading.enumerate() if thread.name == "grange-admin"]
    assert not [thread for thread in threading.enumerate() if thread.name == "grange-admin"]
    with pytest.raises(httpx2.ConnectError):
        await get(url + "/livez")


async def test_the_end_of_the_thread_is_an_alarm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def serve(*_: Any) -> None:
        raise OSError("too many open files")

    monkeypatch.setattr(admin_server, "serve", serve)
    async with silo_with_http(tmp_path):
        pass
    assert [record.event for record in caplog.records if record.levelname == "ERROR"] == ["admin_port_failed"]


async def test_the_stop_does_not_wait_for_code_of_grains_in_threads(tmp_path: Path) -> None:
    loop, end = asyncio.get_running_loop(), threading.Event()
    async with silo_with_http(tmp_path):
        loop.set_default_executor(ThreadPoolExecutor(1))
        busy = asyncio.ensure_future(asyncio.to_thread(end.wait))
        loop.call_later(20, end.set)
    assert not end.is_set()
    end.set()
    await busy


async def test_virtual_time_has_no_admin_port() -> None:
    with pytest.raises(OptionError, match=r"'http'.*virtual time"):
        async with TestCluster([Idle], http=0):
            pass


async def test_an_occupied_port_names_the_option(tmp_path: Path) -> None:
    async with silo_with_http(tmp_path) as silo:
        with pytest.raises(ConfigurationError, match=r"'http'.*in use"):
            async with silo_with_http(tmp_path, http=int(silo.http.rpartition(":")[2])):
                pass


async def test_metrics_name_types_and_methods(tmp_path: Path) -> None:
    async with silo_with_http(tmp_path) as silo:
        await silo.get_grain(Idle, "ann").touch()
        while 'grange_activations{type="idle"} 1' not in (answer := await get(base(silo) + "/metrics")).text:
            assert answer.status_code == 200  # the figures are at most a second old
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert '"ann"' not in answer.text
        assert re.findall(r"^# TYPE (\w+) ", answer.text, re.MULTILINE) == [metric.name for metric in METRICS]
        other = await get(base(silo) + "/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
        assert other.headers["content-type"].startswith("application/openmetrics-text")
        assert other.text.endswith("# EOF\n")


async def test_metrics_answer_while_a_turn_blocks_the_silo(tmp_path: Path) -> None:
    async with silo_with_http(tmp_path) as silo:
        assert await silo.get_grain(Blocker, "a").ask(silo.http, "/metrics") == 200


async def test_a_scrape_links_a_slow_call_to_its_trace(tmp_path: Path) -> None:
    silo = Silo(
        [Idle], port=0, gateway_port=0, http=0, membership="memory://", storage="memory://", data=tmp_path,
        telemetry=Telemetry(sample=1.0),
    )  # fmt: skip
    async with silo, Client([silo.gateway], telemetry=Telemetry(sample=1.0)) as client:
        await client.get_grain(Idle, "a").touch()
        kept = silo._running.links.traces.kept
        assert kept is not None
        (root,) = kept.roots(0, 10)
        text = (await get(base(silo) + "/metrics", headers={"accept": "application/openmetrics-text"})).text
        (line,) = [each for each in text.splitlines() if root.span.trace in each]
        assert line.startswith('grange_call_duration_seconds_bucket{type="idle",method="touch",le="')
        assert f'trace_id="{root.span.trace}"' in line


VIEWER = "a-viewer's-token-of-24"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"x-forwarded-for": "203.0.113.7"}, 401),
        ({"forwarded": "for=203.0.113.7", "authorization": f"Bearer {VIEWER[1:]}"}, 401),
        ({"via": "1.1 proxy", "authorization": f"Basic {VIEWER}"}, 401),
        ({"x-forwarded-for": "203.0.113.7", "authorization": f"bearer {VIEWER}"}, 200),
    ],
)
async def test_metrics_are_for_this_machine_or_a_viewer(tmp_path: Path, headers: dict[str, str], status: int) -> None:
    async with silo_with_http(tmp_path, viewer_token=VIEWER) as silo:
        assert (await get(base(silo) + "/metrics", headers=headers)).status_code == status
        probe = await get(base(silo) + "/livez", headers=headers)
        assert probe.status_code == 200


def test_a_client_elsewhere_is_not_from_here() -> None:
    def request(client: tuple[str, int] | None) -> Request:
        return Request({"type": "http", "headers": [], "client": client})

    assert is_from_here(request(("127.0.0.1", 5)))
    assert is_from_here(request(("::1", 5)))
    assert not is_from_here(request(("10.0.0.9", 5)))
    assert not is_from_here(request(None))


Page = Callable[[SiloAccess], Starlette]


@pytest.fixture
def mount(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Replace the entry points of pages."""

    class Entry:
        def __init__(self, name: str, page: Page) -> None:
            self.name = name
            self._page = page

        def load(self) -> Page:
            return self._page

    def use(**pages: Page) -> None:
        monkeypatch.setattr(admin_server, "entry_points", lambda group: [Entry(*each) for each in pages.items()])

    return use


async def test_a_page_asks_any_silo_of_the_cluster(tmp_path: Path, mount: Callable[..., None]) -> None:
    def page(access: SiloAccess) -> Starlette:
        async def silos(_: Request) -> JSONResponse:
            found = {}
            for member in access.members().active:
                act = msgspec.msgpack.encode(Act(Action.COLLECT, values='{"idle": 0}', actor="ann", preview=True))
                acted = msgspec.msgpack.decode(await access.ask(member.address, ACT, act, 5), type=Acted)
                assert acted.outcome == "previewed", acted
                answer = await access.ask(member.address, STATUS, b"", 5)
                found[str(member.address)] = msgspec.msgpack.decode(answer, type=SiloState).name
            return JSONResponse({"silos": found, "thread": threading.current_thread().name, "own": access.name})

        return Starlette(routes=[Route("/silos", silos)])

    mount(dashboard=page)
    table = f"sqlite:///{tmp_path / 'cluster.db'}"
    one, two = (silo_with_http(tmp_path, name=name, membership=table) for name in ("one", "two"))
    async with one, two:
        await one.wait_for({one.address, two.address})
        await two.wait_for({one.address, two.address})
        answer = (await get(base(one) + "/silos")).json()
        assert answer["silos"] == {str(one.address): "one", str(two.address): "two"}
        assert answer["thread"] == "grange-admin"
        assert answer["own"] == "one"


async def test_pages_live_from_the_start_to_the_stop(tmp_path: Path, mount: Callable[..., None]) -> None:
    log: list[str] = []

    def page(access: SiloAccess) -> Starlette:
        @asynccontextmanager
        async def lifespan(_: Starlette) -> AsyncGenerator[None]:
            log.append("begun")
            yield
            log.append("ended")

        return Starlette(lifespan=lifespan)

    mount(reports=page)
    async with silo_with_http(tmp_path) as silo:
        while (await get(base(silo) + "/reports/")).status_code == 503:
            pass
        assert log == ["begun"]
    assert log == ["begun", "ended"]


async def test_a_page_that_fails_leaves_the_others_alone(
    tmp_path: Path, mount: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: SiloAccess) -> Starlette:
        raise RuntimeError("no template")

    mount(dashboard=lambda _: Starlette(routes=[Route("/x", lambda _: JSONResponse({}))]), broken=broken)
    async with silo_with_http(tmp_path) as silo:
        while (await get(base(silo) + "/x")).status_code == 503:
            pass
        answer = await get(base(silo) + "/broken/")
        assert answer.status_code == 503
        assert "broken" in answer.text
        assert "no template" in caplog.text


def pages_that_wait(ended: threading.Event) -> Callable[[SiloAccess], Starlette]:
    """`/stream` sends for ever and then sets `ended`; `/form` reads its body."""

    async def endless() -> AsyncGenerator[bytes]:
        try:
            while True:
                yield b"x" * 65536
                await asyncio.sleep(0)
        finally:
            ended.set()

    async def stream(_: Request) -> StreamingResponse:
        return StreamingResponse(endless())

    async def form(request: Request) -> JSONResponse:
        return JSONResponse({"bytes": len(await request.body())})

    return lambda _: Starlette(routes=[Route("/stream", stream), Route("/form", form, methods=["POST"])])


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connect(silo: Silo, sent: bytes = b"") -> Connection:
    host, _, port = silo.http.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(sent)
    return reader, writer


async def until_closed(reader: asyncio.StreamReader) -> None:
    with suppress(ConnectionResetError):
        await reader.read()


async def pages_loaded(silo: Silo) -> None:
    while (await get(base(silo) + "/form")).status_code == 503:
        pass


HEAD = b" HTTP/1.1\r\nHost: 127.0.0.1\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET /livez" + HEAD + b"X-Slow: ",
        b"GET /livez" + HEAD + b"\r\nGET /livez" + HEAD + b"X-Slow: ",
        b"POST /form" + HEAD + b"Content-Length: 9\r\n\r\nabc",
        b"GET /livez" + HEAD + b"Content-Length: 9\r\n\r\nabc",  # it is answered before its body
    ],
    ids=["nothing", "head", "second head", "body", "body after the answer"],
)
async def test_a_request_that_does_not_end_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mount: Callable[..., None], sent: bytes
) -> None:
    monkeypatch.setattr(admin_server, "REQUEST_TIMEOUT", 0.2)
    mount(dashboard=pages_that_wait(threading.Event()))
    async with silo_with_http(tmp_path) as silo:
        await pages_loaded(silo)
        reader, writer = await connect(silo, sent)
        closed = asyncio.create_task(until_closed(reader))
        while sent and not closed.done() and not writer.is_closing():
            writer.write(b"a")  # bytes that come do not renew the time
            await asyncio.wait([closed], timeout=0.02)
        await closed
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        assert (await get(base(silo) + "/livez")).status_code == 200


async def test_the_head_of_a_request_is_bounded(tmp_path: Path) -> None:
    """It is refused before it ends: a peer must not fill the memory of the silo."""
    async with silo_with_http(tmp_path) as silo:
        for length, end, status in ((17_000, b"", b" 400 "), (15_000, b"\r\n\r\n", b" 200 ")):
            head = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"a" * length
            reader, writer = await connect(silo, head + end)
            async with asyncio.timeout(20):
                assert status in await reader.readline()
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


async def test_a_peer_that_does_not_read_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mount: Callable[..., None]
) -> None:
    monkeypatch.setattr(admin_server, "READ_TIMEOUT", 0.05)
    ended = threading.Event()
    mount(dashboard=pages_that_wait(ended))
    async with silo_with_http(tmp_path) as silo:
        await pages_loaded(silo)
        _, writer = await connect(silo, b"GET /stream" + HEAD + b"\r\n")
        assert await asyncio.to_thread(ended.wait, 30)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def test_idle_connections_make_room_for_probes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin_server, "MAX_CONNECTIONS", 4)
    async with silo_with_http(tmp_path) as silo:
        held = [await connect(silo) for _ in range(12)]
        for _ in range(5):
            assert (await get(base(silo) + "/livez")).status_code == 200
        await until_closed(held[0][0])  # the oldest ended
        for _, writer in held:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


async def test_connections_in_use_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mount: Callable[..., None]
) -> None:
    monkeypatch.setattr(admin_server, "MAX_CONNECTIONS", 3)
    mount(dashboard=pages_that_wait(threading.Event()))
    async with silo_with_http(tmp_path) as silo:
        await pages_loaded(silo)
        held = [await connect(silo, b"GET /stream" + HEAD + b"\r\n") for _ in range(2)]
        for reader, _ in held:
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        assert (await get(base(silo) + "/livez")).status_code == 503
        for _, writer in held:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
        while (await get(base(silo) + "/livez")).status_code == 503:
            pass
