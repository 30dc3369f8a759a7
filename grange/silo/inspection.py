"""The system targets that show one silo in detail: its figures and activations. Messages: `proto/inspection.py`."""

from __future__ import annotations

import msgspec

from grange.proto.inspection import FIGURES
from grange.runtime.system_target import SystemTargets
from grange.silo.figures import Figures


class Inspection:
    """The answers of one silo, on its silo port and on its gateway."""

    def __init__(self, figures: Figures) -> None:
        self.figures = figures

    def serve(self, targets: SystemTargets) -> None:
        """Offer the system targets."""
        targets.serve(FIGURES, self._answer_figures)

    async def _answer_figures(self, _: bytes) -> bytes:
        return msgspec.msgpack.encode(self.figures.snapshot())
