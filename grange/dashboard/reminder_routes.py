"""The route for reminders and jobs that are due soon, parked, or of one grain. The silos of their slots answer."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from grange.client.questions import Question, ask_each
from grange.dashboard.cluster import WatchedCluster, askable
from grange.dashboard.replies import list_reply
from grange.dashboard.search import whole
from grange.membership.model.member import Member
from grange.proto.ids import GrainId
from grange.proto.inspection import MAX_ROWS, REMINDERS, FindReminders, FoundReminders, StoredReminder
from grange.proto.management import encode

TIMEOUT = 3.0
"""Seconds for a silo to ask its store."""

LONGEST = 30 * 24 * 3600
"""Seconds ahead that a page may ask for."""


class ReminderRoutes:
    """The route. It asks when a page asks."""

    def __init__(self, cluster: WatchedCluster) -> None:
        self._cluster = cluster

    def routes(self) -> list[Route]:
        """The routes of this file."""
        return [Route("/api/reminders", self._reminders)]

    async def _reminders(self, request: Request) -> Response:
        question, members = _question(request.query_params), askable(self._cluster.view)
        asked = Question(REMINDERS, encode(question), FoundReminders, TIMEOUT)
        answers = await asyncio.wait_for(ask_each(self._cluster.ask, members, asked), 2 * TIMEOUT)
        given = [(each.member, each.answer) for each in answers if each.answer is not None]
        rows = {
            (row.grain_id, row.name): _row(row, "" if question.grain_id else member.name, found.now)
            for member, found in given
            for row in found.rows
        }
        shown = sorted(rows.values(), key=lambda row: (row["due"] is None, row["due"], row["type"], row["key"]))
        facts = {
            "rows": shown,
            "more": any(found.more for _, found in given),
            "silent": [_name(each.member) for each in answers if each.answer is None],
        }
        return list_reply(request, facts, "rows")


def _question(given: QueryParams) -> FindReminders:
    grain_type, key = given.get("type", ""), given.get("key", "")
    grain_id = GrainId(grain_type, key) if grain_type and key else None
    within = whole(given, "within", 300, 1, LONGEST)
    return FindReminders(grain_id, given.get("parked", "") == "true", within, MAX_ROWS)


def _row(row: StoredReminder, silo: str, now: float) -> dict[str, Any]:
    """A row for a page; `left`: seconds until it is due."""
    facts = msgspec.to_builtins(row)
    del facts["grain_id"]
    left = None if row.due is None else round(row.due - now, 1)
    return {"type": row.grain_id.type, "key": row.grain_id.key, "silo": silo, "left": left, **facts}


def _name(member: Member) -> str:
    return member.name or str(member.address)
