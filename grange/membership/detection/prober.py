"""Probes the silos that this one watches, each in a task of its own, and reports the silos that stop answering.

After the first miss it asks once an interval, without waiting for the answers before: directly, and through a third
silo, because only the connection from here may be cut (Das, Gupta, Motivala: SWIM, 2002; as Orleans uses it). One
answer to any of these questions, however late, ends the doubt. A lost message, or a pause of the silo that is shorter
than `vote_after`, therefore causes no vote.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Coroutine
from typing import Any, Protocol

from grange.aio.tasks import Tasks
from grange.membership.detection.adaptive_timeout import AdaptiveTimeout
from grange.membership.detection.detector import Detector, ProbeResult, Silence, Suspicion, Verdict
from grange.membership.detection.doubt import Doubt
from grange.membership.detection.gossip import IndirectProbeResult
from grange.membership.detection.liveness import Liveness
from grange.membership.model.options import MembershipOptions
from grange.observability.counters import MembershipFigures
from grange.proto.ids import SiloAddress

Suspect = Callable[[Suspicion], Coroutine[Any, Any, bool]]
"""Called when a silo has missed too many probes in a row, and after each further miss; never raises. Returns whether
this silo has voted on it."""

FINAL_PROBE_TIMEOUT = 0.5
"""Seconds before a vote is allowed at which a suspect is asked for the last time."""


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
        figures: MembershipFigures | None = None,
    ) -> None:
        self._figures = MembershipFigures() if figures is None else figures
        self._suspected: set[SiloAddress] = set()
        self._probes = probes
        self._suspect = suspect
        self._interval = options.probe_interval
        self._vote_after = options.vote_after
        self._rng = rng
        self._liveness = liveness
        self._shortest, self._limit = options.probe_timeout_min, options.missed_limit
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
            self._suspected.discard(silo)
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
            result = await self._probe(silo)
            if self._judge(silo, result, began) is not Verdict.ANSWERS and self._detector.silence(silo) is not None:
                await self._doubt(silo)
                began = _now()  # `Liveness` counts on an interval between two probes
            await _sleep_until(began + self._interval)

    async def _doubt(self, silo: SiloAddress) -> None:
        """Ask again and again, directly and through third silos, until an answer comes; report when a vote is allowed.

        A question waits for its answer until then, however often it was asked again: a late answer is an answer.
        """
        doubt = Doubt()
        try:
            while (silence := self._detector.silence(silo)) is not None and not doubt.answered.is_set():
                allowed = self._vote_allowed(silo, silence, doubt)
                now = _now()
                if now >= allowed:
                    await self._report(silo, doubt.witness)
                    doubt.reported = _now()
                    continue
                last_round = allowed - FINAL_PROBE_TIMEOUT
                if doubt.asked < last_round:
                    self._ask_again(silo, doubt, allowed)
                due = allowed if now >= last_round else min(now + self._interval, last_round)
                if not await doubt.wait_until(due):
                    self._detector.answered(silo)  # this process stood still itself, which proves nothing
        finally:
            await doubt.close()

    def _vote_allowed(self, silo: SiloAddress, silence: Silence, doubt: Doubt) -> float:
        """When a vote is allowed: by then a silo that is cut off has fenced itself (rule R5).

        Later if the time-out for this silo is above the shortest one, because its line is slow or because the local
        health says so: by that much for the question, and again for the answer. Later by the time for which this
        process has stood still meanwhile, too: an answer that it could not read is no silence.
        """
        if doubt.reported is not None:
            return doubt.reported + 2 * self._timeout(silo)
        slower = self._adaptive_timeout.timeout(silo, self._liveness.score) - self._shortest
        enough = doubt.began + (self._limit - 1) * self._interval
        return max(enough, silence.began + self._vote_after + 2 * max(0.0, slower)) + doubt.late

    def _ask_again(self, silo: SiloAddress, doubt: Doubt, allowed: float) -> None:
        began = _now()
        if doubt.rounds:
            self._detector.missed(silo, began, allowed - began)
        doubt.rounds, doubt.asked = doubt.rounds + 1, began
        doubt.ask(self._ask_directly(silo, doubt, allowed - began))
        relay = self._choose_relay(silo)
        if relay is not None and (left := allowed - began - self._timeout(relay)) > 0:
            doubt.ask(self._ask_through(relay, silo, doubt, left))

    async def _ask_directly(self, silo: SiloAddress, doubt: Doubt, timeout: float) -> None:
        began, due = _now(), self._timeout(silo)
        if await self._probes.probe(silo, timeout) is ProbeResult.ANSWERED:
            if (took := _now() - began) <= due:  # a later answer shows a pause, not a slow line
                self._adaptive_timeout.answered(silo, took)
            self._lives(silo, doubt)

    async def _ask_through(self, relay: SiloAddress, silo: SiloAddress, doubt: Doubt, timeout: float) -> None:
        result = await self._probes.probe_through(relay, silo, timeout, self._timeout(relay))
        if result is IndirectProbeResult.REACHED:
            self._lives(silo, doubt)
        elif result is IndirectProbeResult.DEGRADED:
            self._degraded.setdefault(silo, set()).add(relay)
        elif result is IndirectProbeResult.FAILED:
            doubt.witness = relay

    def _lives(self, silo: SiloAddress, doubt: Doubt) -> None:
        if silo in self._watched:
            self._judge(silo, ProbeResult.ANSWERED, _now())
        doubt.answered.set()

    async def _probe(self, silo: SiloAddress) -> ProbeResult:
        began = _now()
        result = await self._probes.probe(silo, self._timeout(silo))
        if result is ProbeResult.ANSWERED:
            self._figures.rtt.observe(_now() - began)
            self._adaptive_timeout.answered(silo, _now() - began)
        return result

    def _judge(self, silo: SiloAddress, result: ProbeResult, began: float) -> Verdict:
        if silo not in self._watched:
            return Verdict.ANSWERS
        if result is ProbeResult.ANSWERED:
            self._degraded.pop(silo, None)
            if silo in self._suspected:  # the vote was wrong
                self._suspected.discard(silo)
                self._figures.false_suspicions += 1
            return self._detector.answered(silo)
        if result is ProbeResult.UNKNOWN:
            return Verdict.MISSED
        return self._detector.missed(silo, began, self._timeout(silo))

    async def _report(self, silo: SiloAddress, witness: SiloAddress | None) -> None:
        silence = self._detector.silence(silo)
        if silence is None:
            return
        # In a task of its own: a death that results from the vote cancels this task.
        if await asyncio.shield(self._tasks.start(self._suspect(Suspicion(silo, silence, witness)))):
            self._suspected.add(silo)

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
