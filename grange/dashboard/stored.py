"""The route for stored grains: a list by key, or a search by indexed fields. A silo that hosts the type answers."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from grange.client.questions import Question, ask_one
from grange.dashboard.cluster import WatchedCluster, askable
from grange.dashboard.replies import BadRequest, error_reply, list_reply
from grange.membership.model.member import Member
from grange.proto.management import encode
from grange.proto.queries import (
    FIND_GRAINS,
    LIST_GRAINS,
    MAX_PAGE,
    FindGrains,
    FoundGrains,
    ListedGrains,
    ListGrains,
)

TIMEOUT = 5.0
"""Seconds for a silo to ask its store."""


class StoredRoutes:
    """The route. It asks when a page asks."""

    def __init__(self, cluster: WatchedCluster) -> None:
        self._cluster = cluster

    def routes(self) -> list[Route]:
        """The routes of this file."""
        return [Route("/api/stored", self._stored)]

    async def _stored(self, request: Request) -> Response:
        given = request.query_params
        grain_type = given.get("type", "")
        hosts = [member for member in askable(self._cluster.view) if grain_type in member.grains]
        if not hosts:
            return error_reply(404, "no silo hosts this grain type")
        limit = _limit(given)
        where = dict(_pair(text) for text in given.getlist("where") if text)
        if where or given.get("order_by"):
            names = ("state", "order_by", "cursor")
            texts = {name: given.get(name, "") for name in names}
            found = FindGrains(
                grain_type,
                msgspec.json.encode(where),
                descending=given.get("descending", "") == "true",
                limit=limit,
                **texts,
            )
            question: Question[Any] = Question(FIND_GRAINS, encode(found), FoundGrains, TIMEOUT)
        else:
            listed = ListGrains(grain_type, given.get("prefix", ""), given.get("cursor", ""), limit, locate=True)
            question = Question(LIST_GRAINS, encode(listed), ListedGrains, TIMEOUT)
        problem = ""
        for host in hosts[:3]:
            answer = await ask_one(self._cluster.ask, host, question)
            if answer.answer is not None:
                return self._shown(request, answer.answer)
            problem = answer.lack
        return error_reply(502, problem)

    def _shown(self, request: Request, found: ListedGrains | FoundGrains) -> Response:
        if found.refused:
            raise BadRequest(found.refused, found.refused.partition(":")[0])
        names = {str(member.address): _name(member) for member in self._cluster.view.members}
        if isinstance(found, FoundGrains):
            rows: list[dict[str, Any]] = [{"key": key, "states": [], "silo": ""} for key in found.keys]
        else:
            rows = [
                {"key": row.key, "states": row.states, "silo": names.get(str(row.silo), "") if row.silo else ""}
                for row in found.rows
            ]
        return list_reply(request, {"rows": rows, "cursor": found.cursor}, "rows")


def _limit(given: QueryParams) -> int:
    text = given.get("limit", "100")
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MAX_PAGE):
        raise BadRequest(f"1 to {MAX_PAGE}", "limit")
    return int(text)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise BadRequest("write field=value", "where")
    return name.strip(), value.strip()


def _name(member: Member) -> str:
    return member.name or str(member.address)
