"""Answers probes. One function for every way a probe may come: by the ordinary connection, or by the probe thread
while the event loop is blocked.
"""

from __future__ import annotations

from grange.membership.detection.health import WORST
from grange.membership.detection.liveness import Liveness
from grange.membership.model.messages import ProbeReply, decode_probe, encode
from grange.proto.ids import SiloAddress


class ProbeResponder:
    """One silo's answers to probes, made from its `Liveness`. Thread-safe; built by `agent.py`."""

    def __init__(self, me: SiloAddress, liveness: Liveness) -> None:
        self._me = me
        self._liveness = liveness

    def answer_probe(self, question: bytes) -> bytes:
        """A `ProbeReply` for a `Probe`, both encoded. Called from any thread; never waits.

        Raises `msgspec.MsgspecError` (a ValueError) for a question that is no probe.
        """
        probe = decode_probe(question)
        liveness = self._liveness
        liveness.heard(probe.prober, probe.mutual, probe.version)
        lag = liveness.lag()
        # The loop that would measure its own lag is the one that hangs.
        score = min(WORST, max(liveness.score, int(lag)))
        return encode(ProbeReply(self._me, liveness.version, lag, score))
