"""The exit codes of `grange`, and the one for each error. Pure."""

from __future__ import annotations

import enum

from grange.errors import (
    ConfigurationError,
    DeclaredDead,
    GrangeError,
    JoinFailed,
    MembershipError,
    SecretUnavailable,
    SelfFenced,
    ServicesUnavailable,
    StorageError,
    Unauthorized,
)


class ExitCode(enum.IntEnum):
    """The exit codes of `grange`, for supervisors and scripts; docs/operations/command-line.md lists them."""

    CLEAN = 0
    FAILED = 1
    USAGE = 2
    NOT_JOINED = 3
    DECLARED_DEAD = 4
    FENCED = 5
    STORE_UNUSABLE = 6
    LOOP_DEAD = 7
    UNAUTHORIZED = 8
    UNKNOWN = 9
    BUG = 70
    INTERRUPTED = 130


class OutputLost(Exception):
    """The answer of a command could not be written to standard output. `is_quiet`: the reader has closed the pipe."""

    def __init__(self, reason: str, is_quiet: bool = False) -> None:
        super().__init__(f"the output cannot be written: {reason}")
        self.reason = reason
        self.is_quiet = is_quiet


def exit_code(error: Exception) -> ExitCode:
    """The exit code for an error that ends the process."""
    causes: tuple[tuple[type[Exception], ExitCode], ...] = (
        (ConfigurationError, ExitCode.USAGE),
        (JoinFailed, ExitCode.NOT_JOINED),
        (DeclaredDead, ExitCode.DECLARED_DEAD),
        (SelfFenced, ExitCode.FENCED),
        (MembershipError, ExitCode.STORE_UNUSABLE),
        (StorageError, ExitCode.STORE_UNUSABLE),
        (ServicesUnavailable, ExitCode.STORE_UNUSABLE),
        (SecretUnavailable, ExitCode.STORE_UNUSABLE),
        (Unauthorized, ExitCode.UNAUTHORIZED),
        (GrangeError, ExitCode.FAILED),
        (OutputLost, ExitCode.FAILED),
    )
    return next((code for kind, code in causes if isinstance(error, kind)), ExitCode.BUG)
