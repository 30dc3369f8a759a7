"""State that outlives an activation. Called by grains through the `PersistentState` facet, opened by the silo.

Open `provider.py` first: the contract every database fulfils. Then three ways lead through the room:

- from a grain: `state.py` (the facet), `operations.py` (its queue), `defaults.py` (values before the first write),
  `facet.py` (how a silo makes facets);
- what stands between them in a silo: `guards.py` (one guard for each store), `guarded.py` (an operation through it),
  `fencing.py` and `deaths.py` (what the dead may no longer change), `breaker.py` (a store that is away), `stamps.py`;
- to a database: `urls.py` (which provider), `memory.py`, `sqlite.py`, `redis.py`, `postgres.py`; the last three
  share `database.py` (checks and etags) and `changes.py` (writes gathered into batches). `record.py` holds the
  limits and wordings that all share.
"""
