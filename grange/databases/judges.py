"""Judges whether a store is safe to rely on, from the store's own settings and state (rule R9). Pure.

`redis.py`, `postgres.py` and `sqlite.py` collect the facts. Apart from `findings.py`, because it reads the files of
migrations, which takes a package that few processes need.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from grange.databases.findings import StoreFinding, bad, ok, warn
from grange.databases.migrations import plan, shipped_migrations
from grange.databases.redis_facts import LEAST_VERSION, NO_CLUSTER, Facts, in_cluster_mode, replicas, version_of
from grange.errors import ConfigurationError


def judge_redis(facts: Facts, appendfsync: str | None) -> list[StoreFinding]:
    """The findings from INFO and one configuration value. A missing right to INFO is a finding too."""
    if not facts:
        return [warn("INFO", "not permitted", "allow this user INFO, or check eviction and persistence yourself")]
    return [
        _redis_version(facts),
        _redis_role(facts),
        *_redis_cluster(facts),
        _eviction(facts),
        _log(facts, appendfsync),
        _replicas(facts),
    ]


def _redis_version(facts: Facts) -> StoreFinding:
    version = version_of(facts)
    shown = ".".join(map(str, version)) if version else "unknown"
    if version is not None and version < LEAST_VERSION:
        least = ".".join(map(str, LEAST_VERSION))
        return bad("version", shown, f"use Redis {least} or newer, or Valkey")
    return ok("version", shown)


def _redis_role(facts: Facts) -> StoreFinding:
    if facts.get("role", "master") != "master":
        return bad("role", "replica", "name the master in the URL, or use redis+sentinel://", passes=True)
    return ok("role", "master")


def _redis_cluster(facts: Facts) -> list[StoreFinding]:
    return [bad("cluster mode", "on", NO_CLUSTER)] if in_cluster_mode(facts) else []


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
    """The findings from the settings of a session, whether a `pooler` is between, and the applied migrations."""
    recovery = (
        bad("role", "standby", "name the primary in the URL: a standby takes no writes", passes=True)
        if settings["in_recovery"] == "on"
        else ok("role", "primary")
    )
    return [
        ok("version", settings["version"]),
        recovery,
        _on("synchronous_commit", settings, "a crash may lose acknowledged writes"),
        _on("fsync", settings, "a power cut may damage the whole database"),
        *_read_only(settings),
        *_pooler(settings),
        *judge_schema("postgres", applied),
    ]


def _read_only(settings: Mapping[str, str]) -> list[StoreFinding]:
    if settings["in_recovery"] == "on" or settings["read_only"] != "on":
        return []
    return [bad("default_transaction_read_only", "on", "ALTER ROLE … SET default_transaction_read_only = off")]


def _pooler(settings: Mapping[str, str]) -> list[StoreFinding]:
    """Grange limits its statements itself, unless a pooler keeps the limit from the server."""
    if settings["pooler"] != "on":
        return []
    if settings["statement_timeout"] != "0":
        return [ok("pooler", f"statement_timeout {settings['statement_timeout']}")]
    remedy = "ALTER ROLE … SET statement_timeout = '2s': behind a pooler grange cannot limit what a lost server does"
    return [warn("pooler", "statements have no time limit", remedy)]


def judge_sqlite(integrity: str, journal: str, applied: Iterable[tuple[str, int]]) -> list[StoreFinding]:
    """The findings from `quick_check`, `journal_mode` and the applied migrations."""
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
    """Whether this version of grange can use the tables. Tables that it would upgrade at start are fine."""
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


def judge_upgrade(component: str, user: str, permitted: bool) -> StoreFinding:
    """Whether the next start can upgrade tables of an older version."""
    subject = f"upgrade of {component}"
    if permitted:
        return ok(subject, "at the next start")
    return bad(subject, f"{user} may not", "run `grange migrate` once, as the owner of the tables")


def _on(name: str, settings: Mapping[str, str], risk: str) -> StoreFinding:
    return warn(name, "off", f"set {name} = on: {risk}") if settings[name] == "off" else ok(name, settings[name])
