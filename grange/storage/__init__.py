"""State that outlives an activation. Grains reach it through the `PersistentState` facet; the silo opens the stores.

Open `provider.py` first: the contract that every store fulfils, and `sets.py`: what one commit changes. The others:

- `states/`: the path from a grain to its state. Open `states/state.py` first.
- `guards/`: the guard between the grains of one silo and a store. Open `guards/stores.py` first.
- `memory.py`: the shortest complete store, which tests use; `stores/`: SQLite, Redis and Postgres.
- `urls.py` and `options.py`: the silo opens a store by its URL; `trial.py` tries one out.

`record.py` holds the limits and error texts of all stores. Connections, migrations and driver errors are in
`grange/databases/`; here are only tables, SQL and scripts.
"""

from grange.storage.memory import MemoryStorage as MemoryStorage
