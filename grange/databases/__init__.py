"""Access to SQLite, Redis and Postgres: connections, migrations, URLs, safety checks; independent of the stored data.

Called by the providers of `storage` and `membership`. Open `urls.py` first, then the file of one database: `sqlite.py`,
`redis.py` (with `redis_*.py`) or `postgres.py` (with `postgres_*.py`). All of them use:

- `providers.py`: loads the provider that a URL's scheme names.
- `errors.py`: the errors of an operation; the rooms above turn them into their own errors.
- `migrations.py`: which numbered SQL files a database lacks.
- `checks.py`, `findings.py`, `judges.py`: safety checks for `grange doctor` and a silo's start.
"""
