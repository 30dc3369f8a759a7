"""The errors of an operation on a database. The rooms above turn them into errors of their own. Pure.

Each driver's errors become one of these in the file named after it (`sqlite.py`, `redis.py`, `postgres.py`). The error
shows whether a change was applied; the text names the database and never shows a password.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from grange.errors import ConfigurationError, GrangeError


class DatabaseError(GrangeError):
    """The database refused the operation. Nothing was changed."""


class DatabaseUnavailable(DatabaseError):
    """The database refuses work at present: it starts, is full, is locked or became a replica. Nothing was changed."""


class DatabaseBusy(DatabaseUnavailable):
    """The database undid the operation in favour of another one, as in a deadlock. Nothing was changed: repeat it."""


class DatabaseMisconfigured(DatabaseUnavailable):
    """The database refuses a login, a name, a right or a way to it, until a setting changes. Nothing was changed.

    The text names the remedy. At start it is a ConfigurationError (see `at_start`); later, as after a rotated
    password, it is an outage.
    """


class AnswerLost(DatabaseError):
    """The connection broke, or the time was over. A change that was sent before may have been applied."""


class DatabaseDamaged(DatabaseError):
    """The file is damaged, or is not a database."""


@contextmanager
def at_start() -> Generator[None]:
    """Turn a DatabaseMisconfigured into a ConfigurationError: nothing has worked yet, so a setting is wrong."""
    try:
        yield
    except DatabaseMisconfigured as error:
        raise ConfigurationError(str(error)) from error


def setting_at_fault(error: BaseException) -> DatabaseMisconfigured | None:
    """The DatabaseMisconfigured among the causes of an error of the rooms above."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, DatabaseMisconfigured):
        cause = cause.__cause__
    return cause


def is_reset(error: RuntimeError) -> bool:
    """Whether a connection was reset while a driver wrote to it.

    uvloop raises RuntimeError with this text, and drivers pass it on. Any other RuntimeError is a defect in code.
    """
    return "the handler is closed" in str(error)
