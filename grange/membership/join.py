"""Joins the cluster: marks older generations dead, writes JOINING, probes all active silos, writes ACTIVE."""

from __future__ import annotations

import asyncio
import logging
from functools import partial

from grange.errors import JoinFailed
from grange.membership.detection.detector import Detector, ProbeResult, Suspicion, Verdict
from grange.membership.detection.gossip import IndirectProbeResult
from grange.membership.detection.prober import Probes, Suspect
from grange.membership.model.member import Member, SiloStatus
from grange.membership.model.options import MembershipOptions
from grange.membership.table.transitions import activate, enter, unreached
from grange.membership.table.writer import TableWriter
from grange.proto.ids import SiloAddress

log = logging.getLogger("grange.membership")


class Join:
    """One attempt of one silo to become active; `run` it once. Made by `agent.py`."""

    def __init__(
        self, me: Member, writer: TableWriter, probes: Probes, suspect: Suspect, options: MembershipOptions
    ) -> None:
        self._me = me
        self._writer = writer
        self._probes = probes
        self._suspect = suspect
        self._options = options
        self._detector = Detector(options.missed_limit)
        self._reached: set[SiloAddress] = set()
        self._logged: set[SiloAddress] = set()
        self._step = "reading the membership table"

    async def run(self) -> None:
        """Return when this silo is ACTIVE.

        Raises JoinFailed after the join time-out, or when a newer process has the endpoint, and DeclaredDead when
        other silos declared this silo dead meanwhile.
        """
        try:
            async with asyncio.timeout(self._options.join_timeout):
                await self._writer.persist(partial(enter, me=self._me))
                self._step = "writing itself active"
                while missing := await self._try_to_activate():
                    self._step = "reaching every active silo; no answer from " + ", ".join(map(str, missing))
                    await self._reach(missing)
                    self._log_silent(missing)
        except TimeoutError as error:
            raise JoinFailed(
                f"silo {self._me.address} could not join within {self._options.join_timeout} s; "
                f"it was {self._step}; check that silos can reach each other's silo ports and the table"
            ) from error

    async def _try_to_activate(self) -> tuple[SiloAddress, ...]:
        """The silos still to reach; empty once this silo is active."""
        me = self._me.address
        table = await self._writer.persist(partial(activate, me=me, reached=self._reached))
        own = table.get(me)
        if own is not None and own.member.status is not SiloStatus.JOINING:
            return ()
        return unreached(table, me, self._reached)

    async def _reach(self, silos: tuple[SiloAddress, ...]) -> None:
        """Probe all of them once, at the same time. A round with a failure takes at least the probe interval."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with asyncio.TaskGroup() as group:
            for silo in silos:
                group.create_task(self._reach_one(silo))
        if not self._reached.issuperset(silos):
            await asyncio.sleep(max(0.0, began + self._options.probe_interval - loop.time()))

    async def _reach_one(self, silo: SiloAddress) -> None:
        """Probe in both directions: a silo that an active silo cannot reach must not become active."""
        began, timeout = asyncio.get_running_loop().time(), self._options.probe_timeout
        if await self._probes.probe(silo, timeout) is ProbeResult.ANSWERED:
            self._detector.answered(silo)
            back = await self._probes.probe_through(silo, self._me.address, timeout, timeout)
            if back is IndirectProbeResult.REACHED:
                self._reached.add(silo)
        elif self._detector.missed(silo, began, timeout) is Verdict.SUSPECT:
            silence = self._detector.silence(silo)
            if silence is not None and asyncio.get_running_loop().time() - silence.began >= self._options.vote_after:
                await self._suspect(Suspicion(silo, silence))

    def _log_silent(self, asked: tuple[SiloAddress, ...]) -> None:
        """Log each silent silo once, so that an operator sees why the start waits and for how long it can."""
        silent = set(asked) - self._reached - self._logged
        if silent:
            self._logged |= silent
            log.warning(
                "silo %s waits for %s: active in the membership table, but no answer; a silo that was killed counts as "
                "dead when its row has shown no sign of life for %g s",
                self._me.address,
                ", ".join(sorted(map(str, silent))),
                self._options.stale_after,
            )
