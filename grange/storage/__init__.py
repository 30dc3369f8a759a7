"""State that outlives an activation. Called by the `PersistentState` facet of a grain (`state.py`).

Open `provider.py` first: the contract every database fulfils; `memory.py`, `sqlite.py`, `redis.py` and
`postgres.py` are the shipped providers.
"""
