"""Observability: figures, events and traces of this process. The runtime and the features report to it.

`telemetry.py` has what users switch on; open it first. `spans.py` is what the runtime does with it.
"""

from grange.observability.telemetry import Telemetry

__all__ = ["Telemetry"]
