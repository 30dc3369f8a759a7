"""Reaches SQLite, Redis and Postgres: connections, migrations, URLs and safety checks. Knows nothing of what is stored.

Called by the providers of `storage` and `membership`. Open `migrations.py` for how a schema is brought up to date,
`redis.py` for the link to a Redis, `checks.py` for what `grange doctor` and a silo's start ask of a store.
"""
