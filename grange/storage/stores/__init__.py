"""The stores: one file a database, opened by `storage/urls.py` through their entry points.

Open `memory.py` first: the shortest complete store. `sqlite.py`, `redis.py` and `postgres.py` share `database.py`
(checks, etags, time-outs) and `changes.py` (changes gathered into batches); all share `plain.py`.
"""
