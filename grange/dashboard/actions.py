"""Acts on the cluster: the role is checked here, and at the silo again, which does the act and keeps the audit.

An act that concerns several silos is one question to each. Its outcome is the worst of theirs; if some did it and
others refused, it has failed, because a refusal means that nothing was done. `expect` holds what each silo said in the
preview.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from grange.client.questions import Question as SiloQuestion
from grange.client.questions import ask_each
from grange.dashboard.cluster import ASK_TIMEOUT, WatchedCluster, askable
from grange.dashboard.headers import session_of
from grange.dashboard.login import Session
from grange.dashboard.replies import BadRequest, json_reply, read_body
from grange.dashboard.roles import NEEDED, ROLE_NAMES
from grange.errors import CallNotExecuted, GrangeError
from grange.membership.model.member import Member
from grange.proto.acts import ACT, Act, Acted, Action, Outcome
from grange.proto.ids import GrainId
from grange.proto.inspection import DETAIL, ActivationDetail
from grange.proto.management import encode

PREVIEW_TIMEOUT = 3.0
"""Seconds for a silo to say what an act would do."""

ACT_TIMEOUT = 30.0
"""Seconds for a silo to do it. Then its outcome is unknown."""

LONGEST_REASON = 500
LONGEST_TEXT = 8192

_OF_ONE_SILO = frozenset({Action.CORDON, Action.UNCORDON, Action.DRAIN, Action.DUMP_TASKS})

_WORST: Mapping[Outcome, int] = MappingProxyType({
    Outcome.PREVIEWED: 0, Outcome.DONE: 1, Outcome.REFUSED: 2, Outcome.FAILED: 3, Outcome.UNKNOWN: 4,
})  # fmt: skip


class Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of an act. `silo` names the silo that shall do it, where that is not clear from the target."""

    action: Action
    target: str = ""
    values: Any = None
    reason: str = ""
    expect: str = ""
    silo: str = ""
    preview: bool = False


class Actions:
    """The route for acts. `on` are the actions that are switched on."""

    def __init__(self, cluster: WatchedCluster, on: frozenset[Action]) -> None:
        self._cluster = cluster
        self._on = on

    def routes(self) -> list[Route]:
        """The routes of this file."""
        return [Route("/api/act", self._act, methods=["POST"])]

    async def _act(self, request: Request) -> Response:
        question, session = await read_body(request, Question), session_of(request)
        self._check(question, session)
        members = await self._silos_for(question)
        expected = _expected(question, members)
        acts = [(member, _act_of(question, session, expected.get(str(member.address), ""))) for member in members]
        seconds = PREVIEW_TIMEOUT if question.preview else ACT_TIMEOUT
        answers = await asyncio.gather(*(self._ask(member, act, seconds) for member, act in acts))
        facts = _merged(answers, [member.name for member in members])
        has_changed = any(
            act.expect and answer.expect not in ("", act.expect) for (_, act), answer in zip(acts, answers, strict=True)
        )
        if has_changed and facts["outcome"] is Outcome.REFUSED:
            raise BadRequest(f"it has changed since the preview: {facts['text']}", "expect", 409)
        return json_reply(facts)

    def _check(self, question: Question, session: Session) -> None:
        """Raises BadRequest for an act that this user may not do, or that lacks its reason."""
        if question.action not in self._on:
            raise BadRequest(f"the action {question.action.value!r} is switched off here", status=403)
        needed = NEEDED[question.action]
        if session.level < needed:
            raise BadRequest(f"{question.action.value!r} needs the role {ROLE_NAMES[needed]}", status=403)
        if not question.preview and not question.reason.strip():
            raise BadRequest("give a reason: it is kept in the audit", "reason")
        for name, text, most in (
            ("reason", question.reason, LONGEST_REASON),
            ("target", question.target, LONGEST_TEXT),
            ("silo", question.silo, LONGEST_TEXT),
        ):
            if len(text) > most:
                raise BadRequest(f"at most {most} characters", name)

    async def _silos_for(self, question: Question) -> tuple[Member, ...]:
        """The silos that do this act. Raises BadRequest if there is none."""
        members = askable(self._cluster.view)
        named = question.silo or (question.target if question.action in _OF_ONE_SILO else "")
        if named:
            found = tuple(member for member in members if named in (member.name, str(member.address)))
            if len(found) != 1:
                raise BadRequest("this names no single living silo", "silo" if question.silo else "target")
            return found
        if question.action in _OF_ONE_SILO:
            raise BadRequest("name the silo", "silo")
        grain_type, slash, key = question.target.partition("/")
        if question.action in (Action.DEACTIVATE, Action.MOVE) and slash:
            return await self._hosts_of(GrainId(grain_type, key), members)
        if question.action is Action.DEACTIVATE:
            found = tuple(member for member in members if grain_type in member.grains)
            if not found:
                raise BadRequest("no silo hosts this grain type", "target")
            return found
        if question.action in (Action.CALL, Action.DECLARE_DEAD):
            able = [each for each in members if question.target not in (each.name, str(each.address))]
            if not able:
                raise BadRequest("no other silo can do this", "target", 409)
            return (able[0],)
        return members

    async def _hosts_of(self, grain_id: GrainId, members: Sequence[Member]) -> tuple[Member, ...]:
        kind: Any = ActivationDetail | None
        answers = await ask_each(self._cluster.ask, members, SiloQuestion(DETAIL, encode(grain_id), kind, ASK_TIMEOUT))
        found = tuple(each.member for each in answers if each.answer is not None)
        if not found:
            silent = [each.member.name for each in answers if each.problem]
            more = f"; no answer from {', '.join(silent)}" if silent else ""
            raise BadRequest(f"the grain is not active on any silo{more}", "target", 404)
        return found

    async def _ask(self, member: Member, act: Act, seconds: float) -> Acted:
        """The answer of one silo. What the connection loses is an unknown outcome, not a refusal."""
        try:
            async with asyncio.timeout(seconds):
                answer = await self._cluster.ask(member, ACT, encode(act), seconds)
            return msgspec.msgpack.decode(answer, type=Acted)
        except CallNotExecuted as error:
            return Acted(member.address, Outcome.REFUSED, f"certainly not done: {error}")
        except (GrangeError, TimeoutError, msgspec.DecodeError) as error:
            text = str(error) or f"no answer within {seconds:g} s"
            if act.preview:
                return Acted(member.address, Outcome.REFUSED, f"certainly not done: {text}")
            return Acted(member.address, Outcome.UNKNOWN, f"the outcome is unknown: {text}")


def _act_of(question: Question, session: Session, expect: str) -> Act:
    values = "" if question.values is None else msgspec.json.encode(question.values).decode()
    return Act(
        question.action, question.target, values, question.reason.strip(), expect, session.user, question.preview,
        session.level,
    )  # fmt: skip


def _expected(question: Question, members: Sequence[Member]) -> Mapping[str, str]:
    """What each silo said in the preview. Raises BadRequest with 409 if other silos are concerned by now."""
    if not question.expect:
        return {}
    try:
        expected = msgspec.json.decode(question.expect, type=dict[str, str])
    except msgspec.DecodeError:
        raise BadRequest("this is not what a preview returned", "expect") from None
    if expected.keys() != {str(member.address) for member in members}:
        raise BadRequest("other silos are concerned than in the preview", "expect", 409)
    return expected


def _merged(answers: Sequence[Acted], names: Sequence[str]) -> dict[str, Any]:
    """One answer for all silos: the worst outcome, the texts, the sum of the counts."""
    outcomes = {answer.outcome for answer in answers}
    worst = max(outcomes, key=lambda outcome: _WORST[outcome])
    if worst is Outcome.REFUSED and Outcome.DONE in outcomes:
        worst = Outcome.FAILED
    alone = len(answers) == 1
    words = {outcome: f"{outcome}: " if len(outcomes) > 1 else "" for outcome in outcomes}
    texts = [
        answer.text if alone else f"{name}: {words[answer.outcome]}{answer.text}"
        for name, answer in zip(names, answers, strict=True)
    ]
    expected = {str(answer.address): answer.expect for answer in answers if answer.expect}
    results = {name: answer.result for name, answer in zip(names, answers, strict=True) if answer.result}
    result = answers[0].result if alone else msgspec.json.encode(results).decode() if results else ""
    return {
        "outcome": worst,
        "text": "; ".join(texts),
        "count": sum(answer.count for answer in answers if answer.outcome is not Outcome.REFUSED),
        "expect": msgspec.json.encode(expected).decode() if len(expected) == len(answers) else "",
        "result": result,
        "silo": names[0] if alone else "",
        "silos": list(names),
    }
