"""Measures this silo's local health once a second, and writes the score to `Liveness`; see `health.py`."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from grange.counted import counted
from grange.membership.detection.deps import MembershipDeps
from grange.membership.detection.health import Signs, expects_probes, score_of, suspicions_of
from grange.membership.detection.prober import Prober
from grange.membership.model.member import SiloStatus, View
from grange.membership.model.observations import Ages
from grange.membership.model.options import MembershipOptions
from grange.membership.table.views import Views
from grange.observability.catalogue import HealthDegraded
from grange.proto.ids import SiloAddress

PERIOD = 1.0
"""Seconds between two measurements."""

LATENESS_SAMPLES = 10
"""Measurements of lateness that count: a silo that was stopped keeps a raised score for this many seconds."""

UNHEARD_INTERVALS = 3
"""Probe intervals without a probe after which the silo assumes that none reaches it."""

MIN_LOGGED_SCORE = 2
"""The lowest score that is logged: a busy machine shows a single sign now and then."""


class HealthMonitor:
    """One silo's local health. Made by `agent.py`; `run` is a task of its own."""

    def __init__(
        self,
        me: SiloAddress,
        deps: MembershipDeps,
        views: Views,
        prober: Prober,
        ages: Callable[[], Ages],
        options: MembershipOptions,
    ) -> None:
        self._me = me
        self._deps = deps
        self._views = views
        self._prober = prober
        self._ages = ages
        self._options = options
        self._lateness: deque[float] = deque(maxlen=LATENESS_SAMPLES)
        self._expected_since: float | None = None

    async def run(self) -> None:
        """Measure until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + PERIOD
            await asyncio.sleep(PERIOD)
            self._lateness.append(loop.time() - due)
            self.measure()

    def measure(self) -> None:
        """Set the score from the current signs. Called each second, and with each view."""
        view, liveness = self._views.current, self._deps.liveness
        own = view.get(self._me)
        signs = Signs(
            active=own is not None and own.status is SiloStatus.ACTIVE,
            lag=max(self._lateness, default=0.0),
            probed=len(self._prober.watched),
            silent=self._prober.silent,
            unheard=self._is_unheard(view),
            suspicions=suspicions_of(self._me, view, self._ages(), self._options.vote_expiry),
        )
        before, liveness.score = liveness.score, score_of(signs)
        if signs.active and liveness.score > before and liveness.score >= MIN_LOGGED_SCORE:
            self._deps.events.publish(HealthDegraded(liveness.score, _describe(signs)))

    def _is_unheard(self, view: View) -> bool:
        now = asyncio.get_running_loop().time()
        if not expects_probes(self._me, view):
            self._expected_since = None
            return False
        if self._expected_since is None:
            self._expected_since = now
        last = max(self._deps.liveness.contacts().values(), default=self._expected_since)
        return now - max(last, self._expected_since) > UNHEARD_INTERVALS * self._options.probe_interval


def _describe(signs: Signs) -> str:
    seen = [
        f"its event loop was {signs.lag:.1f} s late" if signs.lag >= 1 else "",
        f"{signs.silent} of the {signs.probed} silos it probes do not answer" if signs.silent else "",
        "no probes of other silos arrive" if signs.unheard else "",
        counted(signs.suspicions, "other silo suspects it", "other silos suspect it") if signs.suspicions else "",
    ]
    return "; ".join(each for each in seen if each)
