"""State that outlives an activation. Called by grains through the `PersistentState` facet, opened by the silo.

Open `provider.py` first: the contract every database fulfils. Then two ways lead through the room:

- from a grain: `state.py` (the facet), `operations.py` (its queue), `defaults.py` (values before the first write),
  `facet.py` (how a silo makes facets);
- to a database: `urls.py` (which provider), `memory.py`, `sqlite.py`, `redis.py`, `postgres.py`; the last three
  share `database.py` (checks and etags) and `changes.py` (writes gathered into batches). `record.py` holds the
  limits and wordings that all share.
"""
