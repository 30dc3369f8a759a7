"""From a grain to its state. Open `state.py` first: the facet `PersistentState`.

`operations.py` is the facet's queue, `codec.py` writes its value as JSON that reads back the same, `defaults.py` makes
the value before the first write, and `facet.py` makes the facets of a silo.
"""
