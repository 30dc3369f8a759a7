"""The routes for what happened: membership, events, log lines, traces, health and the audit."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from grange.client.questions import Question, ask_each
from grange.dashboard.cluster import ASK_TIMEOUT, WatchedCluster, askable
from grange.dashboard.collector import Collector
from grange.dashboard.headers import holds_of
from grange.dashboard.health import checks_of, store_checks_of
from grange.dashboard.journals import NEWEST, Journals
from grange.dashboard.live import EventStream
from grange.dashboard.replies import BadRequest, error_reply, json_reply, list_reply
from grange.dashboard.runbook_pages import runbook
from grange.dashboard.search import LONGEST_TEXT, whole
from grange.dashboard.timeline import fences_of, versions_of
from grange.membership.model.member import Member
from grange.proto.acts import KINDS
from grange.proto.ids import SiloAddress
from grange.proto.inspection import DOUBTS, STORES, Doubts, Stores
from grange.proto.journal import ReadLogs

FOLLOW_INTERVAL = 1.0
"""Seconds between two questions of one page that follows the log."""

STORES_TIMEOUT = 3.0
"""Seconds for a silo to tell about its stores: its check of them may take two."""

MOST_FOLLOWERS = 40
"""Streams of log lines at the same time: each asks the silos for itself, and holds a connection."""

SILENCE = 15.0
"""Seconds without a line after which a comment shows that the stream lives."""

_TRACE = re.compile(r"[0-9a-f]{32}")


class JournalRoutes:
    """The routes of this file."""

    def __init__(self, cluster: WatchedCluster, collector: Collector) -> None:
        self._cluster = cluster
        self._collector = collector
        self._journals: Journals = collector.journals
        self._followers: set[object] = set()

    def routes(self) -> list[Route]:
        """The routes."""
        return [
            Route("/api/membership", self._membership),
            Route("/api/events", self._events),
            Route("/api/logs", self._logs),
            Route("/api/logs/follow", self._follow),
            Route("/api/traces", self._traces),
            Route("/api/traces/{trace}", self._trace),
            Route("/api/health", self._health),
            Route("/api/audit", self._audit),
            Route("/api/runbooks/{name}", self._runbook),
        ]

    async def _membership(self, request: Request) -> Response:
        picture = self._collector.picture()
        silent = await self._journals.read_events()
        names = {str(member.address): member.name for member in picture.view.members}
        fenced = {silo.member.name: each.membership.fenced for silo, each in picture.fresh()}
        events = self._journals.memory.rows
        members = askable(picture.view)
        facts = {
            "version": picture.view.version,
            "versions": versions_of(events, names),
            "silos": [{"name": member.name, "address": str(member.address)} for member in members],
            **await self._doubts(members),
            "fences": fences_of(events, fenced),
            "silent": silent,
        }
        return list_reply(request, facts, "versions")

    async def _doubts(self, members: Sequence[Member]) -> dict[str, Any]:
        """A row for each silo that looks, a column for each that it looks at; null where nothing is known."""
        answers = await ask_each(self._cluster.ask, members, Question(DOUBTS, b"", Doubts, ASK_TIMEOUT))
        rows: list[list[Any]] = []
        for each in answers:
            found = () if each.answer is None else each.answer.rows
            seen = {row.silo: msgspec.to_builtins(row) for row in found}
            rows.append([seen.get(member.address) for member in members])
        incarnations = sorted({each.answer.incarnation for each in answers if each.answer is not None} - {""})
        return {"doubts": rows, "incarnation": ", ".join(incarnations)}

    async def _events(self, request: Request) -> Response:
        after = whole(request.query_params, "after", 0, 0, 10**15 - 1)
        limit = whole(request.query_params, "limit", NEWEST, 1, 1000)
        silent = await self._journals.read_events()
        rows = [row for row in self._journals.memory.rows if row["time"] > after]
        return list_reply(request, {"rows": rows[-limit:][::-1], "silent": silent}, "rows")

    def _lines(self, request: Request) -> tuple[ReadLogs, tuple[Member, ...]]:
        parameters = request.query_params
        for name in ("contains", "type"):
            if len(parameters.get(name, "")) > LONGEST_TEXT:
                raise BadRequest(f"at most {LONGEST_TEXT} characters", name)
        trace = parameters.get("trace", "")
        if trace and not _TRACE.fullmatch(trace):
            raise BadRequest("a trace id is 32 digits of 0-9 and a-f", "trace")
        question = ReadLogs(
            limit=whole(parameters, "limit", NEWEST, 1, 500),
            level=whole(parameters, "level", 20, 0, 50),
            contains=parameters.get("contains", ""),
            grain_type=parameters.get("type", ""),
            trace=trace,
        )
        return question, self._members(parameters.get("silo", ""))

    def _members(self, silo: str) -> tuple[Member, ...]:
        members = askable(self._cluster.view)
        found = tuple(member for member in members if silo in ("", member.name, str(member.address)))
        if silo and not found:
            raise BadRequest("no living silo has this name", "silo")
        return found

    async def _logs(self, request: Request) -> Response:
        question, members = self._lines(request)
        found = await self._journals.logs(question, members, {})
        return list_reply(request, {**found, "rows": found["rows"][-question.limit :]}, "rows")

    async def _follow(self, request: Request) -> Response:
        question, members = self._lines(request)
        silo = request.query_params.get("silo", "")
        if len(self._followers) >= MOST_FOLLOWERS:
            return error_reply(503, "all streams of log lines are in use")
        numbers = dict.fromkeys((member.address for member in members), -1)
        lines = self._new_lines(question, silo, numbers, holds_of(request))
        return EventStream(request, object(), self._followers, lines)

    async def _new_lines(
        self, question: ReadLogs, silo: str, numbers: dict[SiloAddress, int], holds: Callable[[], bool]
    ) -> AsyncGenerator[bytes]:
        loop = asyncio.get_running_loop()
        sent = loop.time()
        yield b"retry: 1000\n\n"
        while not self._collector.live.closed.is_set() and holds():
            members = [each for each in askable(self._cluster.view) if silo in ("", each.name, str(each.address))]
            if rows := (await self._journals.logs(question, members, numbers))["rows"]:
                yield b"event: lines\ndata: " + msgspec.json.encode({"rows": rows}) + b"\n\n"
                sent = loop.time()
            elif loop.time() - sent >= SILENCE:
                yield b":\n\n"
                sent = loop.time()
            await self._collector.live.wait_closed(FOLLOW_INTERVAL)
        yield b"event: bye\ndata: {}\n\n"

    async def _traces(self, request: Request) -> Response:
        kept = request.query_params.get("kept", "")
        if kept not in ("", "error", "slow", "sample"):
            raise BadRequest("kept is error, slow or sample", "kept")
        facts = await self._journals.traces(self._members(request.query_params.get("silo", "")), kept)
        return list_reply(request, facts, "roots")

    async def _trace(self, request: Request) -> Response:
        trace = request.path_params["trace"]
        if not _TRACE.fullmatch(trace):
            return error_reply(404, "a trace id is 32 digits of 0-9 and a-f")
        return list_reply(request, await self._journals.trace(trace), "spans")

    async def _health(self, _: Request) -> Response:
        members = askable(self._cluster.view)
        stores = ask_each(self._cluster.ask, members, Question(STORES, b"", Stores, STORES_TIMEOUT))
        silent, found = await asyncio.gather(self._journals.read_events(), stores)
        picture = self._collector.picture()
        checks = [*checks_of(picture, self._collector.dropped), *store_checks_of(found)]
        return json_reply({"checks": checks, "alarms": self._collector.alarms(picture), "silent": silent})

    async def _audit(self, request: Request) -> Response:
        kind, who, what = (request.query_params.get(name, "") for name in ("kind", "who", "what"))
        if kind not in ("", *KINDS):
            raise BadRequest(f"kind is {', '.join(KINDS)}", "kind")
        return list_reply(request, await self._journals.audit(kind, who, what), "rows")

    async def _runbook(self, request: Request) -> Response:
        text = runbook(request.path_params["name"])
        return error_reply(404, "there is no such runbook") if text is None else json_reply({"text": text})
