"""The way in: older selves die, the row appears as JOINING, everybody active is reached, the row becomes ACTIVE."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial

from grange.errors import JoinFailed
from grange.membership.detection.detector import Detector, ProbeResult, Suspicion, Verdict
from grange.membership.detection.gossip import IndirectProbeResult
from grange.membership.detection.prober import Probes, Suspect
from grange.membership.model.member import Member, SiloStatus
from grange.membership.model.options import MembershipOptions
from grange.membership.model.provider import Table
from grange.membership.table.session import Decide
from grange.membership.table.transitions import activate, enter, unreached
from grange.proto.ids import SiloAddress

log = logging.getLogger("grange.membership")

Persist = Callable[[Decide], Awaitable[Table]]
"""Settles a decision, however long the table is away."""


class Join:
    """One attempt of one silo to become active; `run` it once. Made by `agent.py`."""

    def __init__(
        self, me: Member, persist: Persist, probes: Probes, suspect: Suspect, options: MembershipOptions
    ) -> None:
        self._me = me
        self._persist = persist
        self._probes = probes
        self._suspect = suspect
        self._options = options
        self._detector = Detector(options.missed_limit)
        self._reached: set[SiloAddress] = set()
        self._named: set[SiloAddress] = set()
        self._step = "reading the membership table"

    async def run(self) -> None:
        """Returns when this silo is ACTIVE.

        Raises JoinFailed when it cannot be within the join time-out, or a newer process has the endpoint, and
        DeclaredDead when the others give it up meanwhile.
        """
        try:
            async with asyncio.timeout(self._options.join_timeout):
                await self._persist(partial(enter, me=self._me))
                self._step = "writing itself active"
                while missing := await self._try_to_activate():
                    self._step = "reaching every active silo; no answer from " + ", ".join(map(str, missing))
                    await self._reach(missing)
                    self._say_who_is_silent(missing)
        except TimeoutError as error:
            raise JoinFailed(
                f"silo {self._me.address} could not join within {self._options.join_timeout} s; "
                f"it was {self._step}; check that silos can reach each other's silo ports and the table"
            ) from error

    async def _try_to_activate(self) -> tuple[SiloAddress, ...]:
        """The silos still to reach; none: this silo is active."""
        me = self._me.address
        table = await self._persist(partial(activate, me=me, reached=self._reached))
        own = table.get(me)
        if own is not None and own.member.status is not SiloStatus.JOINING:
            return ()
        return unreached(table, me, self._reached)

    async def _reach(self, silos: tuple[SiloAddress, ...]) -> None:
        """Probe all at once, one round. Rounds of which one fails take at least the probe interval."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with asyncio.TaskGroup() as group:
            for silo in silos:
                group.create_task(self._reach_one(silo))
        if not self._reached.issuperset(silos):
            await asyncio.sleep(max(0.0, began + self._options.probe_interval - loop.time()))

    def _say_who_is_silent(self, asked: tuple[SiloAddress, ...]) -> None:
        """Once for each: whoever starts a silo sees what it waits for, and how long that can take."""
        silent = set(asked) - self._reached - self._named
        if silent:
            self._named |= silent
            log.warning(
                "silo %s waits for %s: active by the membership table, but no answer; one that was killed counts as "
                "dead when it has not written for %g s that it lives",
                self._me.address,
                ", ".join(sorted(map(str, silent))),
                self._options.stale_after.total_seconds(),
            )

    async def _reach_one(self, silo: SiloAddress) -> None:
        """There and back: nobody becomes active whom an active silo cannot reach."""
        began, timeout = asyncio.get_running_loop().time(), self._options.probe_timeout
        if await self._probes.probe(silo, timeout) is ProbeResult.ANSWERED:
            self._detector.answered(silo)
            if (
                await self._probes.probe_through(silo, self._me.address, timeout, timeout)
                is IndirectProbeResult.REACHED
            ):
                self._reached.add(silo)
        elif self._detector.missed(silo, began, timeout) is Verdict.SUSPECT:
            silence = self._detector.silence(silo)
            if silence is not None and asyncio.get_running_loop().time() - silence.began >= self._options.vote_after:
                await self._suspect(Suspicion(silo, silence))
