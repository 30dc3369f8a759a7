"""Probes the silos that this one watches, each in a task of its own, and reports the silos that stop answering.

When one more miss would make a suspect, the prober asks a third silo to probe instead: only the connection from here
may be cut (Das, Gupta, Motivala: SWIM, 2002; as Orleans uses it).
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
from grange.membership.detection.liveness import Liveness
from grange.membership.model.options import MembershipOptions
from grange.proto.ids import SiloAddress

Suspect = Callable[[Suspicion], Coroutine[Any, Any, None]]
"""Called when a silo has missed too many probes in a row, and after each further miss; never raises."""

FINAL_PROBE_TIMEOUT = 0.5
"""Seconds of one more direct probe of a suspect right before the vote."""


class Probes(Protocol):
    """Single probes; `gossip.py` implements it. Neither method raises."""

    async def probe(self, silo: SiloAddress, timeout: float) -> ProbeResult:
        """Probe a silo directly."""
        ...

    async def probe_through(
        self, relay: SiloAddress, silo: SiloAddress, timeout: float, relay_timeout: float
    ) -> IndirectProbeResult:
        """Have `relay` probe the silo within `timeout`; wait `relay_timeout` longer than that."""
        ...


class Prober:
    """Watches the silos that `agent.py` assigns with each view; `detector.py` gives the verdicts.

    The local health score in `liveness` stretches the time-outs (Lifeguard).
    """

    def __init__(
        self,
        probes: Probes,
        suspect: Suspect,
        options: MembershipOptions,
        rng: random.Random,
        liveness: Liveness,
    ) -> None:
        self._probes = probes
        self._suspect = suspect
        self._interval = options.probe_interval
        self._vote_after = options.vote_after
        self._rng = rng
        self._liveness = liveness
        self._detector = Detector(options.missed_limit)
        self._adaptive_timeout = AdaptiveTimeout(options)
        self._watched: dict[SiloAddress, asyncio.Task[None]] = {}
        self._relays: tuple[SiloAddress, ...] = ()
        self._degraded: dict[SiloAddress, set[SiloAddress]] = {}
        self._tasks = Tasks()

    @property
    def watched(self) -> frozenset[SiloAddress]:
        """The silos that are probed now."""
        return frozenset(self._watched)

    def last_answer(self, silo: SiloAddress) -> float | None:
        """Seconds that the newest answer of a silo to a direct probe took; None before the first."""
        return self._adaptive_timeout.last(silo)

    def missed(self, silo: SiloAddress) -> int:
        """Probes that this silo has missed in a row."""
        return self._detector.missed_in_row(silo)

    @property
    def silent(self) -> int:
        """How many watched silos did not answer the last probe."""
        return self._detector.missing

    def watch(self, silos: Collection[SiloAddress], relays: tuple[SiloAddress, ...] = ()) -> None:
        """Probe exactly these silos from now on, if need be through one of `relays`.

        The misses of silos that were watched before still count.
        """
        if relays != self._relays:
            self._relays = relays
            self._degraded.clear()
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
        # The random start keeps the probes of many silos from coming in bursts.
        await asyncio.sleep(self._rng.uniform(0, self._interval))
        while True:
            began = _now()
            relay = self._choose_relay(silo) if self._detector.at_last_allowed(silo) else None
            result = await (self._probe(silo) if relay is None else self._probe_through(relay, silo))
            if self._judge(silo, result, began) is Verdict.SUSPECT and not await self._answers_final_probe(silo):
                await self._report(silo, relay if result is IndirectProbeResult.FAILED else None)
            await _sleep_until(began + self._interval)

    async def _probe(self, silo: SiloAddress) -> ProbeResult:
        began = _now()
        result = await self._probes.probe(silo, self._timeout(silo))
        if result is ProbeResult.ANSWERED:
            self._adaptive_timeout.answered(silo, _now() - began)
        return result

    async def _probe_through(self, relay: SiloAddress, silo: SiloAddress) -> IndirectProbeResult:
        result = await self._probes.probe_through(relay, silo, self._timeout(silo), self._timeout(relay))
        if result is IndirectProbeResult.DEGRADED:
            self._degraded.setdefault(silo, set()).add(relay)
        return result

    def _judge(self, silo: SiloAddress, result: ProbeResult | IndirectProbeResult, began: float) -> Verdict:
        if silo not in self._watched:
            return Verdict.ANSWERS
        if result in (ProbeResult.ANSWERED, IndirectProbeResult.REACHED):
            self._degraded.pop(silo, None)
            return self._detector.answered(silo)
        if result in (ProbeResult.UNKNOWN, IndirectProbeResult.DEGRADED):
            return Verdict.MISSED
        return self._detector.missed(silo, began, self._timeout(silo))

    async def _answers_final_probe(self, silo: SiloAddress) -> bool:
        """Wait until a vote is allowed; probe directly once more in the last half second. True: do not vote.

        A vote is allowed `vote_after` after the start of the first missed probe: by then a silo that is cut off has
        fenced itself (rule R5).
        """
        silence = self._detector.silence(silo)
        if silence is None:
            return True
        allowed = silence.began + self._vote_after
        if allowed <= _now():
            return False
        await _sleep_until(allowed - FINAL_PROBE_TIMEOUT)
        result = await self._probes.probe(silo, allowed - _now())
        if result is ProbeResult.ANSWERED:
            self._detector.answered(silo)
        await _sleep_until(allowed)
        return result is not ProbeResult.MISSED

    async def _report(self, silo: SiloAddress, witness: SiloAddress | None) -> None:
        silence = self._detector.silence(silo)
        if silence is not None:
            # In a task of its own: a death that results from the vote cancels this task.
            await asyncio.shield(self._tasks.start(self._suspect(Suspicion(silo, silence, witness))))

    def _choose_relay(self, silo: SiloAddress) -> SiloAddress | None:
        degraded = self._degraded.get(silo, ())
        healthy = [relay for relay in self._relays if relay != silo and relay not in degraded]
        return self._rng.choice(healthy) if healthy else None

    def _timeout(self, silo: SiloAddress) -> float:
        return self._adaptive_timeout.timeout(silo, self._liveness.score, self._detector.missed_in_row(silo))


def _now() -> float:
    return asyncio.get_running_loop().time()


async def _sleep_until(time: float) -> None:
    await asyncio.sleep(max(0.0, time - _now()))
