"""The databases: one file each, opened by `storage/urls.py` through their entry points.

Read `storage/memory.py` first: the shortest complete store. `sqlite.py`, `redis.py` and `postgres.py` share
`database.py` (checks, etags, time-outs), `changes.py` (change sets gathered into batches) and `refusals.py` (why a set
was not applied). Files with `_sets` apply sets, files with `_queries` read.
"""
