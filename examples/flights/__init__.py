"""Flights: two silos process a month of real departures, one silo is killed, and every total must be right.

`python -m examples.flights` runs it. Open `aircraft.py` first: it records a flight so that it counts once, through any
crash. Then read `feeder.py` (many calls in flight, retries), `demo.py` (the run) and `check.py` (the same totals by
plain `csv` code, for comparison).
"""
