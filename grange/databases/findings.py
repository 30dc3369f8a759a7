"""What is unsafe about a store, judged from what the store says about itself (rule R9). Pure.

`redis_check.py`, `postgres_check.py` and `sqlite_check.py` ask; the silo's start and `grange doctor` show.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping

import msgspec

from grange.databases.migrations import plan, shipped_migrations
from grange.databases.redis_facts import LEAST_VERSION, Facts, replicas, version_of
from grange.errors import ConfigurationError


class Level(enum.StrEnum):
    """How bad: `warn` loses writes or members when something fails; `bad` cannot work, and a silo does not start."""

    OK = "ok"
    WARN = "warn"
    BAD = "bad"


class StoreFinding(msgspec.Struct, frozen=True):
    """One thing that was looked at, what was found, and what to do about it. Holds no secrets."""

    level: Level
    subject: str
    found: str
    remedy: str = ""


def ok(subject: str, found: str) -> StoreFinding:
    """Nothing to do."""
    return StoreFinding(Level.OK, subject, found)


def warn(subject: str, found: str, remedy: str) -> StoreFinding:
    """It works until something fails."""
    return StoreFinding(Level.WARN, subject, found, remedy)


def bad(subject: str, found: str, remedy: str) -> StoreFinding:
    """It cannot work."""
    return StoreFinding(Level.BAD, subject, found, remedy)


def judge_redis(facts: Facts, appendfsync: str | None) -> list[StoreFinding]:
    """From INFO and one configuration value; what this user may not ask is said as such."""
    if not facts:
        return [warn("INFO", "not permitted", "allow this user INFO, or check eviction and persistence yourself")]
    return [_redis_version(facts), _redis_role(facts), _eviction(facts), _log(facts, appendfsync), _replicas(facts)]


def _redis_version(facts: Facts) -> StoreFinding:
    version = version_of(facts)
    shown = ".".join(map(str, version)) if version else "unknown"
    if version is not None and version < LEAST_VERSION:
        least = ".".join(map(str, LEAST_VERSION))
        return bad("version", shown, f"use Redis {least} or newer, or Valkey")
    return ok("version", shown)


def _redis_role(facts: Facts) -> StoreFinding:
    if facts.get("role", "master") != "master":
        return bad("role", "replica", "name the master in the URL, or use redis+sentinel://")
    return ok("role", "master")


def _eviction(facts: Facts) -> StoreFinding:
    policy = facts.get("maxmemory_policy", "unknown")
    if policy not in ("noeviction", "unknown"):
        return warn("eviction", policy, "set maxmemory-policy noeviction: Redis deletes the table when memory is short")
    return ok("eviction", policy)


def _log(facts: Facts, appendfsync: str | None) -> StoreFinding:
    if facts.get("aof_enabled", "0") != "1":
        return warn(
            "persistence", "no append-only file", "set appendonly yes: a restart goes back to the last snapshot"
        )
    if appendfsync == "no":
        remedy = "set appendfsync everysec: a power cut may lose much more than the last second"
        return warn("persistence", "append-only file, never forced to the disk", remedy)
    return ok("persistence", f"append-only file, fsync {appendfsync or 'unknown'}")


def _replicas(facts: Facts) -> StoreFinding:
    if not replicas(facts):
        return warn("replicas", "none", "add a replica and Sentinels: what this server loses is lost")
    return ok("replicas", str(replicas(facts)))


def judge_postgres(settings: Mapping[str, str], applied: Iterable[tuple[str, int]]) -> list[StoreFinding]:
    """From `in_recovery`, `synchronous_commit`, `fsync` and `version`, and the migrations that were applied."""
    recovery = (
        bad("role", "standby", "name the primary in the URL: a standby takes no writes")
        if settings["in_recovery"] == "on"
        else ok("role", "primary")
    )
    return [
        ok("version", settings["version"]),
        recovery,
        _on("synchronous_commit", settings, "a crash may lose acknowledged writes"),
        _on("fsync", settings, "a power cut may damage the whole database"),
        *judge_schema("postgres", applied),
    ]


def judge_sqlite(integrity: str, journal: str, applied: Iterable[tuple[str, int]]) -> list[StoreFinding]:
    """From `quick_check` and `journal_mode`, and the migrations that were applied."""
    sound = (
        ok("integrity", "ok")
        if integrity == "ok"
        else bad("integrity", integrity[:200], "restore the file from a backup")
    )
    mode = (
        ok("journal", "wal")
        if journal == "wal"
        else warn(
            "journal", journal, "put the file on a local disk: without WAL, readers and writers wait for each other"
        )
    )
    return [sound, mode, *judge_schema("sqlite", applied)]


def judge_schema(dialect: str, applied: Iterable[tuple[str, int]]) -> list[StoreFinding]:
    """Whether this grange can use the tables; those that it would bring up to date at start are fine."""
    done: dict[str, list[int]] = {}
    for component, version in applied:
        done.setdefault(component, []).append(version)
    return [_schema(dialect, component, sorted(versions)) for component, versions in sorted(done.items())]


def _schema(dialect: str, component: str, versions: list[int]) -> StoreFinding:
    subject = f"schema of {component}"
    try:
        pending = plan(component, shipped_migrations(f"grange.{component}", dialect), versions)
    except ConfigurationError as error:
        return bad(subject, f"version {versions[-1]}", str(error))
    except ModuleNotFoundError:
        return ok(subject, f"version {versions[-1]}, not ours")
    return ok(subject, f"version {versions[-1]}" + (", to be upgraded at the next start" if pending else ""))


def _on(name: str, settings: Mapping[str, str], why: str) -> StoreFinding:
    return warn(name, "off", f"set {name} = on: {why}") if settings[name] == "off" else ok(name, settings[name])
