"""What was found out about a store: facts with their remedies. The silo's start and `grange doctor` show them. Pure."""

from __future__ import annotations

import enum

import msgspec


class Level(enum.StrEnum):
    """`warn`: a failure may lose writes or members. `bad`: the store cannot work, and a silo does not start."""

    OK = "ok"
    WARN = "warn"
    BAD = "bad"


class StoreFinding(msgspec.Struct, frozen=True):
    """One checked fact: the subject, its state, and the remedy. Holds no secrets."""

    level: Level
    subject: str
    found: str
    remedy: str = ""
    passes: bool = False
    """Whether a bad fact may end without a change of the configuration, as a failover ends the role of a replica."""


def ok(subject: str, found: str) -> StoreFinding:
    """A finding without a remedy."""
    return StoreFinding(Level.OK, subject, found)


def warn(subject: str, found: str, remedy: str) -> StoreFinding:
    """A finding about a store that works until a part of it fails."""
    return StoreFinding(Level.WARN, subject, found, remedy)


def bad(subject: str, found: str, remedy: str, *, passes: bool = False) -> StoreFinding:
    """A finding about a store that cannot work."""
    return StoreFinding(Level.BAD, subject, found, remedy, passes)
