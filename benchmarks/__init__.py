"""Measures grange and its peers in one run: `python -m benchmarks` (or `make bench`).

`README.md` describes the figures and how to read them. `catalog.py` has the figures, contestants and targets, `run.py`
carries out a run. A benchmark is never a test: a slow machine fails no build.
"""
