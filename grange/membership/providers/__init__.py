"""Membership tables on memory, SQLite, Redis and Postgres. `membership/urls.py` opens them.

Open `memory.py` first: it is the
shortest complete provider.
"""
