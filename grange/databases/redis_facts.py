"""Parses the facts that a Redis reports about itself. Pure; used by `redis.py` and `findings.py`.

Facts are the answer to INFO. A user without the right to INFO gets no facts, and then no conclusion is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping

Facts = Mapping[str, str]

LEAST_VERSION = (6, 2)
"""Older servers lack commands that the membership table or its tools use."""

WAITAOF_VERSION = (7, 2)
"""The first version in which a client can wait until its writes are on the disk."""

NO_CLUSTER = (
    "name a Redis that is not in cluster mode (cluster-enabled no), with a replica and Sentinels: "
    "grange changes two keys in one step, and Redis Cluster spreads keys over servers"
)


def in_cluster_mode(facts: Facts) -> bool:
    """Whether the server is a node of a Redis Cluster."""
    return facts.get("cluster_enabled") == "1" or facts.get("redis_mode") == "cluster"


def parsed_info(text: str) -> Facts:
    """Parse the answer to INFO: a line for each fact, and headings."""
    pairs = (line.partition(":") for line in text.splitlines() if not line.startswith("#"))
    return {name: value for name, _, value in pairs if name}


def version_of(facts: Facts) -> tuple[int, ...] | None:
    """The Redis version; Valkey reports the Redis version that it is compatible with. None: unknown."""
    parts = facts.get("redis_version", "").split(".")
    return tuple(int(part) for part in parts) if parts[0].isdigit() and all(map(str.isdigit, parts)) else None


def replicas(facts: Facts) -> int:
    """The number of replicas that are connected now."""
    return int(facts.get("connected_slaves", 0))


def keeps_a_log(facts: Facts) -> bool:
    """Whether there is an append-only file, and WAITAOF to wait for it."""
    version = version_of(facts)
    return bool(int(facts.get("aof_enabled", 0))) and version is not None and version >= WAITAOF_VERSION


def waits_for_disk(appendfsync: str | None) -> bool:
    """Whether the server writes to the disk within a second; with `appendfsync no`, WAITAOF would time out.

    True is assumed when this user has no right to the setting.
    """
    return appendfsync != "no"
