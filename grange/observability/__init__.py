"""What a process says about itself: figures, events, log lines and traces. The rooms above fill it and readers ask it.

Open `snapshot.py` first: its value is all that the dashboard, `/metrics` and the exporters read of figures.
`counters.py` holds the figures while they grow; every room that counts gets its part of them at start-up.
`silo/figures.py` collects them. `events.py` publishes what happens, `catalogue.py` declares it; `log_ring.py` keeps log
lines.
"""

from grange.observability.telemetry import Telemetry

__all__ = ["Telemetry"]
