"""Membership tables on memory, SQLite, Redis and Postgres, and opening one by its URL.

Called by the silo's start-up, clients and the command line through `urls.py`. Open `memory.py` first: it is the
shortest complete provider.
"""
