"""Answers probes, in the same way for both ways in: the ordinary connection, and the probe thread.

The probe thread answers while the event loop is blocked.
"""

from __future__ import annotations

from grange.membership.detection.health import MAX_SCORE
from grange.membership.detection.liveness import Liveness
from grange.membership.model.messages import ProbeReply, decode_probe, encode
from grange.proto.ids import SiloAddress


class ProbeResponder:
    """One silo's answers to probes, made from its `Liveness`. Thread-safe; made by `gossip.py`."""

    def __init__(self, me: SiloAddress, liveness: Liveness) -> None:
        self._me = me
        self._liveness = liveness

    def answer_probe(self, question: bytes) -> bytes:
        """A `ProbeReply` for a `Probe`, both encoded. Called from any thread; never waits.

        Raises `msgspec.MsgspecError` (a ValueError) for a question that is no probe.
        """
        probe = decode_probe(question)
        liveness = self._liveness
        liveness.probe_received(probe.prober, probe.mutual, probe.version)
        lag = liveness.lag()
        # The health monitor runs in the event loop, so a blocked loop cannot raise the score itself.
        score = min(MAX_SCORE, max(liveness.score, int(lag)))
        return encode(ProbeReply(self._me, liveness.version, lag, score))
