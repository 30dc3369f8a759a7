"""The routes for lists and details of silos, types and activations. They ask when a page asks, and wait for no silo."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from grange.client.questions import Answer, Question, ask_each, ask_one
from grange.dashboard.cluster import ASK_TIMEOUT, WatchedCluster, askable
from grange.dashboard.collector import Collector
from grange.dashboard.replies import BadRequest, error_reply, json_reply, list_reply
from grange.dashboard.search import decode_cursor, encode_cursor, filter_of, page_of, questions
from grange.dashboard.setups import connection_rows, options_that_differ
from grange.dashboard.views import method_rows, silo_row, silo_rows, type_rows
from grange.membership.model.hash_ring import RING_SIZE, Ring
from grange.membership.model.member import Member, SiloStatus
from grange.proto.ids import GrainId
from grange.proto.inspection import (
    DETAIL,
    FIND,
    SCHEMA,
    SETUP,
    STATE,
    ActivationDetail,
    FindActivations,
    FoundActivations,
    ReadState,
    Setup,
    States,
    TypeSchema,
)
from grange.proto.management import DRAIN, DrainState, encode

SEARCH_TIMEOUT = 1.5
"""Seconds for a silo to answer a search: its budget is 0.5 s of work, beside its other work."""

STATE_TIMEOUT = 3.0
"""Seconds for a silo to read a state: its store may take almost two."""

STUCK = FindActivations(min_turn=1.0, sort="turn", limit=10)
"""The turns that the page of a silo shows as stuck."""


class Lists:
    """The routes. They read the collector's newest picture, and ask silos for the rest."""

    def __init__(self, cluster: WatchedCluster, collector: Collector) -> None:
        self._cluster = cluster
        self._collector = collector

    def routes(self) -> list[Route]:
        """The routes of this file."""
        return [
            Route("/api/silos", self._silos),
            Route("/api/silos/{name}", self._silo),
            Route("/api/ring", self._ring),
            Route("/api/types", self._types),
            Route("/api/types/{name}", self._type),
            Route("/api/activations", self._activations),
            Route("/api/activation", self._activation),
            Route("/api/state", self._state),
        ]

    async def _silos(self, request: Request) -> Response:
        return list_reply(request, {"silos": silo_rows(self._collector.picture())}, "silos")

    async def _silo(self, request: Request) -> Response:
        picture, name = self._collector.picture(), request.path_params["name"]
        found = next(iter(picture.of(name)), None)
        if found is None:
            return error_reply(404, "no living silo has this name")
        member = found.member
        stuck, setup, drain = await asyncio.gather(self._stuck(member), self._setup(member), self._drain(member))
        return json_reply({**silo_row(picture, found), **setup, "stuck": stuck, "drain": drain})

    async def _setup(self, member: Member) -> dict[str, Any]:
        """Its options that differ from those of the other silos, its connections, and the steps of its start."""
        members = askable(self._cluster.view)
        answers = await ask_each(self._cluster.ask, members, Question(SETUP, b"", Setup, ASK_TIMEOUT))
        found = next((each.answer for each in answers if each.member.address == member.address), None)
        others = [each.answer.options for each in answers if each.answer is not None and each.answer is not found]
        names = {str(each.address): each.name for each in self._cluster.view.members}
        return {
            "options": [] if found is None else options_that_differ(found.options, others),
            "connections": [] if found is None else connection_rows(found, names),
            "more_connections": 0 if found is None else found.more,
            "start": [] if found is None else found.start,
            "observers": 0 if found is None else found.observers,
        }

    async def _drain(self, member: Member) -> DrainState | None:
        """The progress of its drain; None if it does not drain, or does not tell."""
        if member.status is not SiloStatus.LEAVING:
            return None
        return (await ask_one(self._cluster.ask, member, Question(DRAIN, b"", DrainState, ASK_TIMEOUT))).answer

    async def _stuck(self, member: Member) -> list[dict[str, Any]]:
        found = await ask_one(self._cluster.ask, member, Question(FIND, encode(STUCK), FoundActivations, ASK_TIMEOUT))
        rows = found.answer.rows if found.answer is not None else ()
        asked = [self._detail(member, row.grain_id) for row in rows if row.turn >= STUCK.min_turn]
        details = [each.answer for each in await asyncio.gather(*asked)]
        return [
            {
                "type": detail.row.grain_id.type,
                "key": detail.row.grain_id.key,
                "method": turn.method,
                "seconds": round(turn.seconds, 1),
                "stack": turn.stack,
            }
            for detail in details
            if detail is not None
            for turn in detail.running
            if turn.seconds >= STUCK.min_turn
        ]

    async def _ring(self, _: Request) -> Response:
        active = self._cluster.view.active
        ring = Ring(member.address for member in active)
        arcs = [
            {"silo": member.name, "from": round(each.start / RING_SIZE, 6), "to": round(each.end / RING_SIZE, 6)}
            for member in active
            for each in ring.ranges(member.address)
        ]
        return json_reply({"arcs": sorted(arcs, key=lambda arc: arc["from"])})

    async def _types(self, request: Request) -> Response:
        return list_reply(request, {"types": type_rows(self._collector.picture())}, "types")

    async def _type(self, request: Request) -> Response:
        name, picture = request.path_params["name"], self._collector.picture()
        hosts = [member for member in askable(self._cluster.view) if name in member.grains]
        if not hosts:
            return error_reply(404, "no silo hosts this grain type")
        if request.query_params.get("format") == "csv":
            return list_reply(request, {"methods": method_rows(picture, name)}, "methods")
        facts = {"type": name, "options": {"placement": hosts[0].grains[name]}}
        for host in hosts[:3]:  # all hosts have the same class; one that is silent is no reason to show nothing
            found = await ask_one(self._cluster.ask, host, Question(SCHEMA, name.encode(), TypeSchema, ASK_TIMEOUT))
            if found.answer is not None:
                shown = {"options": found.answer.options, "help": found.answer.help, "methods": found.answer.methods}
                return json_reply({**facts, **shown})
        return json_reply({**facts, "methods": [], "silent": [host.name for host in hosts[:3]]})

    async def _activations(self, request: Request) -> Response:
        return list_reply(request, await self.search(request.query_params), "rows")

    async def search(self, parameters: Mapping[str, str]) -> dict[str, Any]:
        """One page of the list of activations, as the API has it. Raises BadRequest for a wrong filter."""
        find, places = filter_of(parameters), decode_cursor(parameters.get("cursor", ""))
        silos = {str(member.address): member for member in askable(self._cluster.view)}
        if only := parameters.get("silo", ""):
            silos = {address: member for address, member in silos.items() if only in (member.name, address)}
            if not silos:
                raise BadRequest("no living silo has this name", "silo")
        began = asyncio.get_running_loop().time()
        asked = questions(find, places, silos)
        answers = await asyncio.gather(*(self._find(silos[silo], each) for silo, each in asked.items()))
        page = page_of(find, answers, places)
        seconds = round(asyncio.get_running_loop().time() - began, 4)
        return {**page.facts, "silos": len(silos), "cursor": encode_cursor(page.places), "seconds": seconds}

    async def _find(self, member: Member, find: FindActivations) -> Answer[FoundActivations]:
        question = Question(FIND, encode(find), FoundActivations, SEARCH_TIMEOUT)
        return await ask_one(self._cluster.ask, member, question)

    async def _detail(self, member: Member, grain_id: GrainId) -> Answer[ActivationDetail | None]:
        kind: Any = ActivationDetail | None
        return await ask_one(self._cluster.ask, member, Question(DETAIL, encode(grain_id), kind, ASK_TIMEOUT))

    async def _activation(self, request: Request) -> Response:
        grain_id = grain_of(request)
        members = askable(self._cluster.view)
        answers = await asyncio.gather(*(self._detail(member, grain_id) for member in members))
        found = [(each.member, each.answer) for each in answers if each.answer is not None]
        silent = [each.member.name for each in answers if each.problem]
        if not found:
            if silent:
                return error_reply(502, f"not active on a silo that answered; no answer from {', '.join(silent)}")
            return error_reply(404, "the grain is not active on any silo")
        member, detail = found[0]
        facts: dict[str, Any] = msgspec.to_builtins(detail, builtin_types=())
        names = {str(each.address): each.name for each in self._cluster.view.members}
        row = {**facts["row"], "type": grain_id.type, "key": grain_id.key}
        shown = {**facts, "row": row, "address": str(detail.address), "silo": member.name, "silent": silent}
        directory = detail.registered.partition(" ")[0]  # the silo; the activation follows
        return json_reply({
            **shown,
            "directory": directory,
            "directory_silo": names.get(directory, ""),
            "others": [other.name for other, _ in found[1:]],
        })  # fmt: skip

    async def _state(self, request: Request) -> Response:
        grain_id, name = grain_of(request), request.query_params.get("name", "")
        members = askable(self._cluster.view)
        answers = await asyncio.gather(*(self._detail(member, grain_id) for member in members))
        host = next((each.member for each in answers if each.answer is not None), None)
        host = host or next((member for member in members if grain_id.type in member.grains), None)
        if host is None:
            return error_reply(404, "no silo hosts this grain type")
        question = Question(STATE, encode(ReadState(grain_id, name)), States, STATE_TIMEOUT)
        found = await ask_one(self._cluster.ask, host, question)
        if found.answer is None:
            return error_reply(502, found.problem)
        if name and not found.answer.rows:
            return error_reply(404, "the grain has no state of this name")
        return json_reply(found.answer.rows[0] if name else {"rows": found.answer.rows, "silo": host.name})


def grain_of(request: Request) -> GrainId:
    """The grain that a request names. Raises BadRequest."""
    grain_type, key = request.query_params.get("type", ""), request.query_params.get("key", "")
    if not grain_type:
        raise BadRequest("give the grain type", "type")
    return GrainId(grain_type, key)
