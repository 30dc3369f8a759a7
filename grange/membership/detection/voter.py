"""Votes on silos that do not answer, unless there is proof that they live, and logs each vote and death."""

from __future__ import annotations

import asyncio
import logging

import msgspec

from grange.aio.throttled_log import ThrottledLog
from grange.counted import counted
from grange.membership.detection.deps import MembershipDeps
from grange.membership.detection.detector import Suspicion
from grange.membership.model.evidence import Evidence
from grange.membership.model.member import Member, SiloStatus
from grange.membership.model.options import MembershipOptions
from grange.membership.model.provider import Table
from grange.membership.table.session import Session
from grange.membership.table.transitions import Change, Crash, declare_crashed, suspect
from grange.membership.table.views import Views
from grange.membership.table.writer import TableWriter
from grange.observability.catalogue import SiloDeclaredDead, SiloSuspected, VoteWithheld
from grange.proto.ids import SiloAddress

log = logging.getLogger("grange.membership")


class Voter:
    """One silo's votes. Made by `agent.py`; `prober.py` and `join.py` call `suspect`. `withheld` counts vetoes."""

    def __init__(
        self,
        me: SiloAddress,
        deps: MembershipDeps,
        views: Views,
        session: Session,
        writer: TableWriter,
        options: MembershipOptions,
    ) -> None:
        self._me = me
        self._deps = deps
        self._views = views
        self._session = session
        self._writer = writer
        self._options = options
        self._warnings = ThrottledLog(log)
        self._logged_vetoes: dict[SiloAddress, float] = {}
        self.withheld = 0

    async def suspect(self, suspicion: Suspicion) -> bool:
        """Vote, or log why not. Returns whether a vote was written. Never raises; the next missed probe tries again."""
        silo = suspicion.silo
        if self._is_vetoed(suspicion):
            self._withhold(suspicion)
            return False
        self._logged_vetoes.pop(silo, None)
        voters = (self._me,) if suspicion.witness is None else (self._me, suspicion.witness)
        written: list[Member] = []

        def decide(table: Table) -> Change | None:
            change = self._decide(table, suspicion, voters)
            if change is None:
                return None
            written.append(change.member)
            if suspicion.evidence is Evidence.SILENT:
                return msgspec.structs.replace(change, why=f"{change.why}: {_reason(suspicion)}")
            return msgspec.structs.replace(change, why=_reason(suspicion))

        try:
            table = await self._writer.settle(decide)
        except Exception as error:
            self._warnings.warning(f"silo {self._me} could not vote on {silo}, which does not answer", error)
            return False
        row = table.get(silo)
        voted = row is not None and bool(written) and row.member.votes == written[-1].votes
        if row is not None and voted:
            self._deps.figures.suspicions += 1
            self._log_vote(row.member, suspicion)
        return voted

    def _decide(self, table: Table, suspicion: Suspicion, voters: tuple[SiloAddress, ...]) -> Change | None:
        silo, now, options = suspicion.silo, self._deps.now(), self._options
        if suspicion.evidence is Evidence.SILENT:
            return suspect(table, silo, voters, now, self._session.ages(), options)
        hold = 0.0 if suspicion.evidence is Evidence.GONE else options.refusal_hold
        return declare_crashed(table, silo, voters, now, Crash(suspicion.evidence, hold))

    def _is_vetoed(self, suspicion: Suspicion) -> bool:
        """Whether the silo has sent bytes since its first answer was due, and within the time that a vote takes.

        Bytes that a stopped process had sent before may still arrive for a moment; they prove nothing. For a joining
        silo only answers to probes count: no grain depends on it yet, and a silo that the others cannot reach should
        fail its join soon.
        """
        member = self._views.current.get(suspicion.silo)
        if not self._options.connection_veto or member is None or member.status is SiloStatus.JOINING:
            return False
        if suspicion.evidence is Evidence.GONE:
            return False  # its last bytes may still arrive
        now = asyncio.get_running_loop().time()
        since = max(suspicion.silence.answer_due, now - self._options.vote_after)
        return self._deps.heard_from(suspicion.silo) > since

    def _withhold(self, suspicion: Suspicion) -> None:
        self.withheld += 1
        silo, silence = suspicion.silo, suspicion.silence
        if suspicion.evidence is Evidence.SILENT and self._logged_vetoes.get(silo) != silence.began:
            self._logged_vetoes[silo] = silence.began
            self._deps.events.publish(VoteWithheld(str(silo), silence.missed))

    def _log_vote(self, member: Member, suspicion: Suspicion) -> None:
        reason = _reason(suspicion)
        voters = ", ".join(str(vote.voter) for vote in member.votes)
        if member.status is SiloStatus.DEAD:
            self._deps.figures.declared[suspicion.evidence.name.lower()] += 1
            self._deps.events.publish(SiloDeclaredDead(str(member.address), f"the votes of {voters}", reason))
        else:
            self._deps.events.publish(SiloSuspected(str(member.address), voters, reason))


def _reason(suspicion: Suspicion) -> str:
    if suspicion.evidence is not Evidence.SILENT:
        found = str(suspicion.evidence)
        return found if suspicion.witness is None else f"{found}, as silo {suspicion.witness} found, too"
    silence = asyncio.get_running_loop().time() - suspicion.silence.began
    reason = f"no answer to {counted(suspicion.silence.missed, 'probe in', 'probes in')} {silence:.1f} s"
    return reason if suspicion.witness is None else f"{reason}, and none to silo {suspicion.witness} either"
