"""A client of the dashboard's application without a network, so that it runs in virtual time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

HOST = "127.0.0.1:8080"


@dataclass(frozen=True)
class Reply:
    """One response, whole."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Message:
    """One server-sent event; a comment has the name ":"."""

    name: str
    data: Any = None
    id: str = ""


@dataclass
class Browser:
    """Sends requests as a browser with one cookie jar does."""

    app: Any
    address: str = "127.0.0.1"
    cookies: dict[str, str] = field(default_factory=dict)

    async def get(self, url: str, headers: Mapping[str, str] | None = None) -> Reply:
        return await self.request("GET", url, headers=headers)

    async def post(self, url: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Reply:
        usual = {"content-type": "application/json", "sec-fetch-site": "same-origin"}
        content = b"" if body is None else json.dumps(body).encode()
        return await self.request("POST", url, content, {**usual, **(headers or {})})

    async def log_in(self, token: str) -> None:
        reply = await self.post("/api/login", {"token": token})
        assert reply.status == 204, reply.body

    async def request(
        self, method: str, url: str, content: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Reply:
        sent: list[dict[str, Any]] = []
        incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        incoming.put_nowait({"type": "http.request", "body": content, "more_body": False})

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await self.app(self._scope(method, url, headers), incoming.get, send)
        start = sent[0]
        found = [(name.decode(), value.decode()) for name, value in start["headers"]]
        self._keep_cookies(found)
        return Reply(start["status"], dict(found), b"".join(each.get("body", b"") for each in sent[1:]))

    @asynccontextmanager
    async def stream(self, url: str, headers: Mapping[str, str] | None = None) -> AsyncGenerator[Stream]:
        """An open stream; leaving the block closes the connection as a browser does."""
        stream = Stream()
        task = asyncio.create_task(self.app(self._scope("GET", url, headers), stream.receive, stream.send))
        stream.task = task
        try:
            yield stream
        finally:
            stream.gone.set()
            stream.may_send.set()
            await asyncio.wait([task])
            task.result()

    def _scope(self, method: str, url: str, headers: Mapping[str, str] | None) -> dict[str, Any]:
        parts = urlsplit(url)
        given = {"host": HOST, **(headers or {})}
        if self.cookies:
            given.setdefault("cookie", "; ".join(f"{name}={value}" for name, value in self.cookies.items()))
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": parts.path,
            "raw_path": parts.path.encode(),
            "query_string": parts.query.encode(),
            "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in given.items()],
            "client": (self.address, 50000),
            "server": ("127.0.0.1", 8080),
        }

    def _keep_cookies(self, headers: list[tuple[str, str]]) -> None:
        for name, value in headers:
            if name == "set-cookie":
                key, _, rest = value.partition("=")
                self.cookies[key] = rest.partition(";")[0]


class Stream:
    """The messages of one open stream. `may_send` holds the server back, as a browser that does not read."""

    def __init__(self) -> None:
        self.status = 0
        self.messages: asyncio.Queue[Message] = asyncio.Queue()
        self.raw: asyncio.Queue[bytes] = asyncio.Queue()
        self._is_plain = True
        self.gone = asyncio.Event()
        self.may_send = asyncio.Event()
        self.may_send.set()
        self.ended = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self._asked = False

    async def receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        await self.may_send.wait()
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._is_plain = (b"content-encoding", b"gzip") not in message["headers"]
            return
        body = message.get("body", b"")
        self.raw.put_nowait(body)
        for block in body.decode().split("\n\n") if self._is_plain else ():
            if block:
                self.messages.put_nowait(_message(block))
        if not message.get("more_body"):
            self.ended.set()

    async def next(self, *names: str) -> Message:
        """The next message, or the next with one of these names."""
        while True:
            async with asyncio.timeout(60):
                message = await self.messages.get()
            if not names or message.name in names:
                return message


def _message(block: str) -> Message:
    message = Message("message")
    for line in block.split("\n"):
        name, _, value = line.partition(": ")
        if line.startswith(":"):
            return Message(":")
        if name == "event":
            message.name = value
        elif name == "id":
            message.id = value
        elif name == "data":
            message.data = json.loads(value)
        elif name == "retry":
            message.name = "retry"
    return message
