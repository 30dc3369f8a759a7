"""Flights: a month of real departures goes through two silos, one of which is killed, and every total must be right.

`python -m examples.flights` runs it. Open `aircraft.py` first: how a flight is recorded so that it counts once,
whatever crashes. Then `feeder.py` (many calls in flight, retries), `demo.py` (the run) and `check.py` (the same totals
by plain `csv` code, to compare with).
"""
