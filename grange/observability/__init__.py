"""Observability: what a silo says about itself. Events, log lines, figures and traces; imported by the rooms above.

Open `events.py` first: one call publishes an event, which is then logged, counted and kept. `catalogue.py` declares
all events. `telemetry.py` has what switches traces on, `spans.py` what the runtime does for them.
"""

from grange.observability.telemetry import Telemetry

__all__ = ["Telemetry"]
