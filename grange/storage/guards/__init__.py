"""The guard between the grains of one silo and each of its stores. Built by the silo's start-up.

Open `stores.py` first: one guard for each store. `guarded.py` has the operations, `guard.py` runs each of them,
`breaker.py` refuses operations while a store cannot be reached, `death_recorder.py` records dead silos in a store.
"""
