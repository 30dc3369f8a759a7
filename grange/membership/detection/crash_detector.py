"""Finds crashes without waiting for missed probes: a process that ends closes its ports, and is gone from its host.

A look at a silo begins when it breaks a connection or misses a probe. On the host of the silo the look is at its
process. From another host it is at its ports: all of them must refuse a connection, twice, and no probe may be answered
by an open one. So it must be for a silo on a third host. A single observer never suffices, because a firewall refuses,
too. ADR 0107 argues it.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from grange.aio.tasks import Tasks
from grange.membership.detection.deps import MembershipDeps
from grange.membership.detection.detector import Silence, Suspicion
from grange.membership.detection.prober import Prober, Suspect
from grange.membership.detection.processes import is_same_host
from grange.membership.model.evidence import Evidence
from grange.membership.model.member import Member, SiloStatus
from grange.membership.model.messages import LOOK_SERVICE, LookReply, decode_look, encode
from grange.membership.table.views import Views
from grange.proto.ids import SiloAddress
from grange.runtime.system_target import SystemTargets

LOOK_TIMEOUT = 0.5
"""Seconds within which a port must have refused. A refusal takes one round trip."""

CONFIRM_AFTER = 0.25
"""Seconds between the two looks: a process that opens its port anew, and a host that restarts its firewall, refuse for
a moment."""

SECOND_SILOS = 2
"""Silos that are asked to look as well. The second one answers if the first has just crashed, too."""


class OtherSilos(Protocol):
    """Asks other silos; `gossip.py` implements it."""

    async def ask_version(self, silo: SiloAddress, timeout: float) -> int | None:
        """The version of this silo's view, asked for as a probe asks; None: it does not answer. Never raises."""
        ...

    async def look_through(self, silo: SiloAddress, target: SiloAddress, timeout: float) -> Evidence | None:
        """What this silo finds when it looks at `target`; None: nothing, or it does not answer. Never raises."""
        ...


class CrashDetector:
    """One silo's looks at others. Made by `agent.py`.

    Only a silo that probes another one may use its refusals: the other silo then knows that it has lost contact, and
    fences itself before its grains are free.
    """

    def __init__(
        self,
        me: SiloAddress,
        deps: MembershipDeps,
        views: Views,
        others: OtherSilos,
        prober: Prober,
        suspect: Suspect,
    ) -> None:
        self._me = me
        self._deps = deps
        self._views = views
        self._others = others
        self._prober = prober
        self._suspect = suspect
        self._looking: set[SiloAddress] = set()
        self._tasks = Tasks()

    def serve(self, targets: SystemTargets) -> None:
        """Look for other silos."""
        targets.serve(LOOK_SERVICE, self._answer_look)

    def look(self, silo: SiloAddress) -> None:
        """Look at a silo that has broken a connection or missed a probe, and vote if it has crashed. Does not wait.

        Does nothing while a look at this silo is under way.
        """
        if silo not in self._looking and self._living(silo) is not None:
            self._looking.add(silo)
            self._tasks.start(self._examine(silo))

    async def close(self) -> None:
        """End all looks."""
        await self._tasks.close()

    async def _examine(self, silo: SiloAddress) -> None:
        now = asyncio.get_running_loop().time()
        try:
            evidence, witness = await self._find(silo)
            if evidence is not None:
                await self._suspect(Suspicion(silo, Silence(0, now, now), witness, evidence))
        finally:
            self._looking.discard(silo)

    async def _find(self, silo: SiloAddress) -> tuple[Evidence | None, SiloAddress | None]:
        """The evidence of a crash, and the other silo that found it."""
        mine, witness, found = await self._look(silo), None, None
        if mine is Evidence.REFUSED:
            await asyncio.sleep(CONFIRM_AFTER)
            mine, (witness, found) = await asyncio.gather(self._look(silo), self._ask_others(silo))
        if mine is Evidence.GONE:
            return mine, None
        if found is Evidence.GONE:
            return found, witness
        agreed = mine is Evidence.REFUSED and found is Evidence.REFUSED and silo in self._prober.watched
        return (Evidence.REFUSED, witness) if agreed else (None, None)

    async def _look(self, silo: SiloAddress) -> Evidence | None:
        """What this silo finds itself. A process that lives on this host has not crashed, although its ports refuse.

        Nor has one that still answers by a connection that was open before: many firewalls refuse only new ones.
        """
        member, own = self._living(silo), self._views.current.get(self._me)
        if member is None:
            return None
        if own is not None and is_same_host(own, member):
            return Evidence.GONE if self._deps.processes.is_gone(member.process or "") else None
        refused = await asyncio.gather(*(self._refuses(member, port) for port in ports_of(member)))
        if not all(refused) or await self._others.ask_version(silo, LOOK_TIMEOUT) is not None:
            return None
        return Evidence.REFUSED

    async def _refuses(self, member: Member, port: int) -> bool:
        return await self._deps.refuses(member.address.host, port, LOOK_TIMEOUT)

    async def _ask_others(self, silo: SiloAddress) -> tuple[SiloAddress | None, Evidence | None]:
        """A silo whose look counts beside that of this one, with what it found; (None, None): none has found a crash.

        Silos on the host of this one do not count: the network of the host may refuse for all of them.
        """
        member = self._living(silo)
        counting = [
            other.address
            for other in self._views.current.active
            if member is not None
            and other.address not in (self._me, silo)
            and (other.address.host != self._me.host or is_same_host(other, member))
        ]
        asked = self._deps.rng.sample(counting, min(SECOND_SILOS, len(counting)))
        timeout = 2 * LOOK_TIMEOUT
        found = await asyncio.gather(*(self._others.look_through(other, silo, timeout) for other in asked))
        answers = {evidence: other for other, evidence in zip(asked, found, strict=True)}
        best = next((kind for kind in (Evidence.GONE, Evidence.REFUSED) if kind in answers), None)
        return (None, None) if best is None else (answers[best], best)

    async def _answer_look(self, question: bytes) -> bytes:
        target = decode_look(question).target
        found = await self._look(target)
        return encode(LookReply(self._me, found is Evidence.REFUSED, found is Evidence.GONE))

    def _living(self, silo: SiloAddress) -> Member | None:
        """The row of this silo, unless it is dead."""
        member = self._views.current.get(silo)
        return None if member is None or member.status is SiloStatus.DEAD else member


def ports_of(member: Member) -> tuple[int, ...]:
    """The ports on which a silo listens for other silos until its process ends."""
    ports = (member.address.port, member.probe, member.tls, member.probe_tls)
    return tuple(dict.fromkeys(port for port in ports if port))
