"""Probes the silos that this one watches, each in a task of its own, and reports the ones that stop answering.

From the probe on that would be the last allowed to fail, it asks a third silo to probe in its stead: the way from here
may be the only one that is cut (Das, Gupta, Motivala: SWIM, 2002; as Orleans uses it).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Coroutine
from typing import Any, Protocol

from grange.aio.tasks import Tasks
from grange.membership.detection.adaptive_timeout import AdaptiveTimeout
from grange.membership.detection.detector import Detector, ProbeResult, Suspicion, Verdict
from grange.membership.detection.gossip import IndirectProbeResult
from grange.membership.model.options import MembershipOptions
from grange.proto.ids import SiloAddress

Suspect = Callable[[Suspicion], Coroutine[Any, Any, None]]
"""Called when a silo has missed too many probes in a row, and after each further miss; never raises."""

LAST_LOOK = 0.5
"""Seconds before a vote in which the suspect is asked once more, directly."""


class Probes(Protocol):
    """Single probes; `gossip.py` implements it. Neither raises."""

    async def probe(self, silo: SiloAddress, timeout: float) -> ProbeResult:
        """Probe a silo directly."""
        ...

    async def probe_through(
        self, middle: SiloAddress, silo: SiloAddress, timeout: float, patience: float
    ) -> IndirectProbeResult:
        """Have another silo probe it, and wait `patience` longer than that."""
        ...


class Prober:
    """Whom to watch is told by `agent.py` with each view; the verdicts are `detector.py`'s.

    `score` is this silo's local health, which stretches its time-outs.
    """

    def __init__(
        self,
        probes: Probes,
        suspect: Suspect,
        options: MembershipOptions,
        rng: random.Random,
        score: Callable[[], int],
    ) -> None:
        self._probes = probes
        self._suspect = suspect
        self._interval = options.probe_interval
        self._vote_after = options.vote_after
        self._rng = rng
        self._score = score
        self._detector = Detector(options.missed_limit)
        self._adaptive_timeout = AdaptiveTimeout(options)
        self._watched: dict[SiloAddress, asyncio.Task[None]] = {}
        self._middles: tuple[SiloAddress, ...] = ()
        self._unfit: dict[SiloAddress, set[SiloAddress]] = {}
        self._tasks = Tasks()

    @property
    def watched(self) -> frozenset[SiloAddress]:
        """The silos probed now."""
        return frozenset(self._watched)

    @property
    def silent(self) -> int:
        """How many of them did not answer the last probe."""
        return self._detector.missing

    def watch(self, silos: Collection[SiloAddress], relays: tuple[SiloAddress, ...] = ()) -> None:
        """Probe exactly these from now on, if need be through one of `relays`; the count of misses of those watched
        before goes on.
        """
        if relays != self._middles:
            self._middles = relays
            self._unfit.clear()
        for silo in [silo for silo in self._watched if silo not in silos]:
            self._watched.pop(silo).cancel()
        self._detector.keep(silos)
        self._adaptive_timeout.keep({*silos, *relays})
        for silo in silos:
            if silo not in self._watched:
                self._watched[silo] = self._tasks.start(self._watch(silo))

    async def close(self) -> None:
        """Stop probing, and wait until every probe has ended."""
        self._watched.clear()
        await self._tasks.close()

    async def _watch(self, silo: SiloAddress) -> None:
        # From a random moment on, so that the probes of many silos do not come in bursts.
        await asyncio.sleep(self._rng.uniform(0, self._interval))
        while True:
            began = _now()
            middle = self._middle(silo) if self._detector.at_last_allowed(silo) else None
            finding = await (self._directly(silo) if middle is None else self._through(middle, silo))
            if self._judge(silo, finding, began) is Verdict.SUSPECT and not await self._answers_a_last_look(silo):
                await self._report(silo, middle if finding is IndirectProbeResult.FAILED else None)
            await _sleep_until(began + self._interval)

    async def _directly(self, silo: SiloAddress) -> ProbeResult:
        began = _now()
        finding = await self._probes.probe(silo, self._timeout(silo))
        if finding is ProbeResult.ANSWERED:
            self._adaptive_timeout.answered(silo, _now() - began)
        return finding

    async def _through(self, middle: SiloAddress, silo: SiloAddress) -> IndirectProbeResult:
        found = await self._probes.probe_through(middle, silo, self._timeout(silo), self._timeout(middle))
        if found is IndirectProbeResult.DEGRADED:
            self._unfit.setdefault(silo, set()).add(middle)
        return found

    def _judge(self, silo: SiloAddress, finding: ProbeResult | IndirectProbeResult, began: float) -> Verdict:
        if silo not in self._watched:
            return Verdict.ANSWERS
        if finding in (ProbeResult.ANSWERED, IndirectProbeResult.REACHED):
            self._unfit.pop(silo, None)
            return self._detector.answered(silo)
        if finding in (ProbeResult.UNKNOWN, IndirectProbeResult.DEGRADED):
            return Verdict.MISSED
        return self._detector.missed(silo, began, self._timeout(silo))

    async def _answers_a_last_look(self, silo: SiloAddress) -> bool:
        """Wait until a vote is allowed; the last half second of that is for one more direct probe."""
        silence = self._detector.silence(silo)
        if silence is None:
            return True
        allowed = silence.began + self._vote_after
        if allowed <= _now():
            return False
        await _sleep_until(allowed - LAST_LOOK)
        finding = await self._probes.probe(silo, allowed - _now())
        if finding is ProbeResult.ANSWERED:
            self._detector.answered(silo)
        await _sleep_until(allowed)
        return finding is not ProbeResult.MISSED

    async def _report(self, silo: SiloAddress, witness: SiloAddress | None) -> None:
        silence = self._detector.silence(silo)
        if silence is not None:
            # In a task of its own: the death that comes of it ends this one.
            await asyncio.shield(self._tasks.start(self._suspect(Suspicion(silo, silence, witness))))

    def _middle(self, silo: SiloAddress) -> SiloAddress | None:
        unfit = self._unfit.get(silo, ())
        fit = [middle for middle in self._middles if middle != silo and middle not in unfit]
        return self._rng.choice(fit) if fit else None

    def _timeout(self, silo: SiloAddress) -> float:
        return self._adaptive_timeout.timeout(silo, self._score(), self._detector.missed_in_row(silo))


def _now() -> float:
    return asyncio.get_running_loop().time()


async def _sleep_until(time: float) -> None:
    await asyncio.sleep(max(0.0, time - _now()))
