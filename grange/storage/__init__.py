"""State that outlives an activation. Grains reach it through the `PersistentState` facet; the silo opens the stores.

Open `provider.py` first: the contract that every store fulfils. The other files and sub-rooms:

- `state.py` (the facet), `operations.py` (its queue), `defaults.py` (values before the first write) and `facet.py`
  (makes facets for a silo): the path from a grain to its state.
- `urls.py` and `options.py`: the silo opens a store by its URL.
- `guards/`: the guard between the grains of one silo and a store. Open `guards/stores.py` first.
- `providers/`: stores on memory, SQLite, Redis and Postgres. Open `providers/memory.py` first.
"""

from grange.storage.providers.memory import MemoryStorage as MemoryStorage
