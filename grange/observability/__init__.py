"""Figures of one process: counters and histograms that the other rooms fill, and the snapshots that readers get.

Open `snapshot.py` first: its value is all that the dashboard, `/metrics` and the exporters read. `counters.py` holds
the figures while they grow; every room that counts gets its part of them at start-up. `silo/figures.py` collects them.
"""
