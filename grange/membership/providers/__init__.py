"""Membership tables on memory, SQLite, Redis and Postgres, and opening one by its URL.

Called by `silo/environment.py` through `urls.py`; open `memory.py` first: it is the shortest complete provider.
"""
