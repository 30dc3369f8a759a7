"""Reads the journals of all silos: events, log lines, traces and acts, merged by time. Times are in ms in the API."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from grange.client.questions import Answer, Question, ask_each, ask_one
from grange.dashboard.audit_memory import AuditMemory
from grange.dashboard.cluster import ASK_TIMEOUT, WatchedCluster, askable
from grange.dashboard.health import ALARMS, ENDED_BY
from grange.dashboard.timeline import with_names
from grange.membership.model.member import Member
from grange.observability.catalogue import ActionTaken
from grange.proto.acts import AUDIT, Audit
from grange.proto.ids import SiloAddress
from grange.proto.journal import (
    EVENTS,
    LOGS,
    TRACE,
    TRACES,
    After,
    EventRow,
    Events,
    LogRow,
    Logs,
    ReadLogs,
    Traces,
)
from grange.proto.management import DRAIN, DrainState, encode

Facts = dict[str, Any]

NEWEST = 200
"""Entries of each silo that a page begins with."""

KEPT_EVENTS = 2000
"""Events that the dashboard remembers, also those of silos that are gone."""


class EventMemory:
    """The events of all silos that this process has seen, the oldest first. A silo that dies leaves its own here.

    `on_new` is called with each event that comes after the first answers. `alarms` are the events of `health.py`.
    """

    def __init__(self, on_new: Callable[[Facts], None]) -> None:
        self._on_new = on_new
        self._rows: deque[Facts] = deque(maxlen=KEPT_EVENTS)
        self._numbers: dict[SiloAddress, int] = {}
        self.has_begun = False
        self.alarms: deque[Facts] = deque(maxlen=KEPT_EVENTS // 4)

    @property
    def rows(self) -> Sequence[Facts]:
        """All rows, the oldest first."""
        return sorted(self._rows, key=lambda row: row["time"])

    def question(self, member: Member) -> After:
        """The question for the events of a silo that are not here yet."""
        return After(self._numbers.get(member.address, -NEWEST), NEWEST)

    def keep(self, member: Member, answer: Events, names: Mapping[str, str]) -> None:
        """Keep the events of an answer, with the `names` of silos for their addresses.

        Two questions at once may bring the same events: they are kept once.
        """
        last = self._numbers.get(member.address, 0)
        new = [_event_facts(member, row, names) for row in answer.rows if row.number > last]
        self._numbers[member.address] = max(last, answer.last)
        self._rows.extend(new)
        self.alarms.extend(row for row in new if row["name"] in ALARMS or row["name"] in ENDED_BY)
        for row in new if self.has_begun else ():
            self._on_new(row)

    def forget(self, living: Iterable[SiloAddress]) -> None:
        """Forget the numbers of silos that are gone; their events stay."""
        keep = set(living)
        self._numbers = {address: number for address, number in self._numbers.items() if address in keep}


class Journals:
    """Questions to the journals of all silos."""

    def __init__(self, cluster: WatchedCluster, on_new: Callable[[Facts], None]) -> None:
        self._cluster = cluster
        self.memory = EventMemory(on_new)
        self._acts = AuditMemory()

    async def read_events(self) -> list[str]:
        """Ask for the events that came since the last call; returns the silos that did not answer."""
        members = askable(self._cluster.view)
        answers = await asyncio.gather(*(self._events_of(member) for member in members))
        self.memory.forget(member.address for member in members)
        names = {str(member.address): member.name for member in self._cluster.view.members}
        acted: list[Member] = []
        for each in answers:
            if each.answer is not None:
                self.memory.keep(each.member, each.answer, names)
                acted += [each.member] if any(row.name == ActionTaken.NAME for row in each.answer.rows) else []
        self.memory.has_begun = True
        await self.read_audit(acted)  # now: a silo that was asked to drain does not answer for long
        return _silent(answers)

    async def _events_of(self, member: Member) -> Answer[Events]:
        question = Question(EVENTS, encode(self.memory.question(member)), Events, ASK_TIMEOUT)
        return await ask_one(self._cluster.ask, member, question)

    async def logs(self, question: ReadLogs, members: Iterable[Member], numbers: dict[SiloAddress, int]) -> Facts:
        """The lines of these silos after the `numbers`, which are moved on; `off` names silos that keep none."""
        asked = [(member, _after(question, numbers.get(member.address, -NEWEST))) for member in members]
        answers = await asyncio.gather(*(ask_one(self._cluster.ask, *each) for each in asked))
        found: list[Facts] = []
        for answer in answers:
            if answer.answer is not None:
                numbers[answer.member.address] = answer.answer.last
                found += (_log_facts(answer.member, row) for row in answer.answer.rows)
        off = [each.member.name for each in answers if each.answer is not None and not each.answer.kept]
        return {"rows": sorted(found, key=lambda row: row["time"]), "silent": _silent(answers), "off": off}

    async def traces(self, members: Iterable[Member], kept: str) -> Facts:
        """The roots of these silos, the newest first, of those `kept` for one reason or for any."""
        question = Question(TRACES, encode(After(-NEWEST, NEWEST)), Traces, ASK_TIMEOUT)
        answers = await ask_each(self._cluster.ask, members, question)
        roots: list[Facts] = [
            {**_span_facts(each.member, root.span), "kept": root.kept}
            for each in answers
            if each.answer is not None
            for root in each.answer.roots
            if kept in ("", root.kept)
        ]
        sampling = [each.answer.sampling for each in answers if each.answer is not None]
        newest = sorted(roots, key=lambda root: -root["start"])
        off = [each.member.name for each in answers if each.answer is not None and not each.answer.on]
        return {"roots": newest, "sampling": max(sampling, default=0.0), "silent": _silent(answers), "off": off}

    async def trace(self, trace_id: str) -> Facts:
        """The spans of one trace in all silos, by their start; a span that two silos have is shown once."""
        members = askable(self._cluster.view)
        question = Question(TRACE, msgspec.msgpack.encode(trace_id), Traces, ASK_TIMEOUT)
        answers = await ask_each(self._cluster.ask, members, question)
        spans: dict[str, Facts] = {}
        for each in answers:
            for span in each.answer.spans if each.answer is not None else ():
                spans.setdefault(span.span, _span_facts(each.member, span))
        return {"spans": sorted(spans.values(), key=lambda span: span["start"]), "silent": _silent(answers)}

    async def audit(self, kind: str = "", who: str = "", what: str = "") -> Facts:
        """The rows of all silos that fit, the newest first, of silos that are gone too; and the drains that go on."""
        members = askable(self._cluster.view)
        silent = await self.read_audit(members)
        self._acts.forget(member.address for member in members)
        return {"rows": self._acts.newest(kind, who, what), "drains": await self._drains(members), "silent": silent}

    async def read_audit(self, members: Iterable[Member]) -> list[str]:
        """Ask these silos for the acts that came since the last call; returns those that did not answer."""
        answers = await asyncio.gather(*(self._acts_of(member) for member in members))
        for each in answers:
            if each.answer is not None:
                self._acts.keep(each.member, each.answer)
        return _silent(answers)

    async def _acts_of(self, member: Member) -> Answer[Audit]:
        question = Question(AUDIT, encode(self._acts.question(member)), Audit, ASK_TIMEOUT)
        return await ask_one(self._cluster.ask, member, question)

    async def _drains(self, members: Iterable[Member]) -> list[Facts]:
        leaving = [member for member in members if member.status == "leaving"]
        answers = await ask_each(self._cluster.ask, leaving, Question(DRAIN, b"", DrainState, ASK_TIMEOUT))
        return [
            {**msgspec.to_builtins(each.answer), "silo": each.member.name}
            for each in answers
            if each.answer is not None
        ]


def _after(question: ReadLogs, number: int) -> Question[Logs]:
    return Question(LOGS, encode(msgspec.structs.replace(question, number=number)), Logs, ASK_TIMEOUT)


def _silent(answers: Iterable[Answer[Any]]) -> list[str]:
    return [each.member.name for each in answers if each.answer is None]


def _milliseconds(time: float) -> int:
    return int(time * 1000)


def _event_facts(member: Member, row: EventRow, names: Mapping[str, str]) -> Facts:
    return {
        "number": row.number,
        "time": _milliseconds(row.time),
        "silo": member.name,
        "name": row.name,
        "text": with_names(row.text, names),
        "facts": row.facts,
    }


def _log_facts(member: Member, row: LogRow) -> Facts:
    return {**msgspec.to_builtins(row), "time": _milliseconds(row.time), "silo": member.name}


def _span_facts(member: Member, span: Any) -> Facts:
    return {**msgspec.to_builtins(span), "start": _milliseconds(span.start), "silo": member.name}
