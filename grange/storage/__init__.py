"""State that outlives an activation. Grains reach it through the `PersistentState` facet; the silo opens the stores.

Open `provider.py` first: the contract that every store fulfils. The others:

- `state.py` (the facet), `operations.py` (its queue), `codec.py` (its value as JSON that reads back
  the same), `defaults.py` (values before the first write) and `facet.py` (makes facets for a silo): the path from a
  grain to its state.
- `urls.py` and `options.py`: the silo opens a store by its URL.
- `guards/`: the guard between the grains of one silo and a store. Open `guards/stores.py` first.
- `memory.py` (the shortest complete store), `sqlite.py`, `redis.py`, `postgres.py`: the stores, opened by `urls.py`
  through their entry points. The databases share `database.py` (checks, etags, time-outs) and `changes.py` (writes
  gathered into batches). `record.py` holds the limits and error texts of all stores. Connections, migrations and
  driver errors are in `grange/databases/`; here are only tables, SQL and scripts.
"""

from grange.storage.memory import MemoryStorage as MemoryStorage
