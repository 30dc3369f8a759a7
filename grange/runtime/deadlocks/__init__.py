"""Finds requests that wait for each other, and names them: `DeadlockError`. Open `detector.py` first.

`local_waits.py` reads which request of this silo waits for which, `graph.py` (pure) finds cycles in what several silos
said.
"""
