"""Answers probes. One function for every way a probe may come: by the ordinary connection, or by the probe thread
while the event loop is blocked.
"""

from __future__ import annotations

from grange.membership.health import WORST
from grange.membership.messages import ProbeReply, decode_probe, encode
from grange.membership.vitals import Vitals
from grange.proto.ids import SiloAddress


class ProbeAnswers:
    """One silo's answers to probes, made from its `Vitals`. Thread-safe; built by `agent.py`."""

    def __init__(self, me: SiloAddress, vitals: Vitals) -> None:
        self._me = me
        self._vitals = vitals

    def answer_probe(self, question: bytes) -> bytes:
        """A `ProbeReply` for a `Probe`, both encoded. Called from any thread; never waits.

        Raises `msgspec.MsgspecError` (a ValueError) for a question that is no probe.
        """
        probe = decode_probe(question)
        vitals = self._vitals
        vitals.heard(probe.prober, probe.mutual, probe.version)
        lag = vitals.lag()
        # The loop that would measure its own lag is the one that hangs.
        score = min(WORST, max(vitals.score, int(lag)))
        return encode(ProbeReply(self._me, vitals.version, lag, score))
