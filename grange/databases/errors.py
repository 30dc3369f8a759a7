"""The errors of an operation on a database. The rooms above turn them into errors of their own. Pure.

Each driver's errors become one of these in the file named after it (`sqlite.py`, `redis.py`, `postgres.py`). The error
shows whether a change was applied; the text names the database and never shows a password.
"""

from __future__ import annotations

from grange.errors import GrangeError


class DatabaseError(GrangeError):
    """The database refused the operation. Nothing was changed."""


class DatabaseUnavailable(DatabaseError):
    """The database refuses work at present: it starts, is full, is locked or became a replica. Nothing was changed."""


class AnswerLost(DatabaseError):
    """The connection broke, or the time was over. A change that was sent before may have been applied."""


class DatabaseDamaged(DatabaseError):
    """The file is damaged, or is not a database."""


def is_reset(error: RuntimeError) -> bool:
    """Whether a connection was reset while a driver wrote to it.

    uvloop raises RuntimeError with this text, and drivers pass it on. Any other RuntimeError is a defect in code.
    """
    return "the handler is closed" in str(error)
