"""Stores of state on memory, SQLite, Redis and Postgres. Opened by `storage/urls.py` through their entry points.

Open `memory.py` first: it is the shortest complete provider. The three databases share `database.py` (checks, etags,
time-outs) and `changes.py` (writes gathered into batches). `record.py` holds the limits and error texts of all four.
Connections, migrations and driver errors are in `grange/databases/`; here are only tables, SQL and scripts.
"""
