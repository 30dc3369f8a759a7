"""How fast grange is beside its peers, measured in one run: `python -m benchmarks` (or `make bench`).

Open `README.md` for what is measured and how to read it, `catalog.py` for the figures, contestants and
targets, and `run.py` for the order of a run. Nothing here is a test: a slow machine makes no build fail.
"""
