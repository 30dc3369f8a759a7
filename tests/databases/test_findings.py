"""The findings about a store (R9), each fact by itself."""

from __future__ import annotations

import pytest

from grange.databases.findings import Level
from grange.databases.judges import judge_postgres, judge_redis, judge_schema, judge_sqlite
from grange.databases.redis_facts import parsed_info, version_of

GOOD_REDIS = {
    "redis_version": "7.2.4",
    "role": "master",
    "maxmemory_policy": "noeviction",
    "aof_enabled": "1",
    "connected_slaves": "1",
}
GOOD_POSTGRES = {"in_recovery": "off", "synchronous_commit": "on", "fsync": "on", "version": "17.2"}
GOOD_POSTGRES |= {"read_only": "off", "statement_timeout": "2s", "pooler": "off"}
APPLIED = (("membership", 1), ("storage", 1))


def levels(findings):
    return {finding.subject: finding.level for finding in findings if finding.level is not Level.OK}


def test_a_redis_as_it_should_be():
    """No finding needs an action, and every checked fact is named."""
    found = judge_redis(GOOD_REDIS, "everysec")
    assert levels(found) == {}
    assert [each.subject for each in found] == ["version", "role", "eviction", "persistence", "replicas"]


@pytest.mark.parametrize(
    ("facts", "fsync", "expected"),
    [
        ({"redis_version": "6.0.16"}, "everysec", {"version": Level.BAD}),
        ({"redis_version": "6.2.0"}, "everysec", {}),
        ({"redis_version": "odd"}, "everysec", {}),
        ({"role": "slave"}, "everysec", {"role": Level.BAD}),
        ({"maxmemory_policy": "allkeys-lru"}, "everysec", {"eviction": Level.WARN}),
        ({"aof_enabled": "0"}, None, {"persistence": Level.WARN}),
        ({}, "no", {"persistence": Level.WARN}),
        ({}, None, {}),
        ({"connected_slaves": "0"}, "everysec", {"replicas": Level.WARN}),
        ({"cluster_enabled": "1"}, "everysec", {"cluster mode": Level.BAD}),
        ({"cluster_enabled": "0"}, "everysec", {}),
    ],
)
def test_each_fault_of_a_redis(facts, fsync, expected):
    """Each such finding has a remedy."""
    found = judge_redis({**GOOD_REDIS, **facts}, fsync)
    assert levels(found) == expected
    assert all(each.remedy for each in found if each.level is not Level.OK)


def test_a_redis_without_the_right_to_info():
    """Nothing is concluded from missing facts."""
    assert levels(judge_redis({}, None)) == {"INFO": Level.WARN}


def test_the_answer_to_info_is_parsed():
    """Headings and empty lines are not facts; Valkey names the Redis version that it equals."""
    facts = parsed_info(
        "# Server\r\nredis_version:7.2.4\r\nvalkey_version:9.1.2\r\n\r\n# Keys\r\ndb0:keys=1,expires=0\r\n"
    )
    assert facts == {"redis_version": "7.2.4", "valkey_version": "9.1.2", "db0": "keys=1,expires=0"}
    assert version_of(facts) == (7, 2, 4)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, {}),
        ({"in_recovery": "on"}, {"role": Level.BAD}),
        ({"synchronous_commit": "off"}, {"synchronous_commit": Level.WARN}),
        ({"synchronous_commit": "remote_apply"}, {}),
        ({"fsync": "off"}, {"fsync": Level.WARN}),
        ({"read_only": "on"}, {"default_transaction_read_only": Level.BAD}),
        ({"in_recovery": "on", "read_only": "on"}, {"role": Level.BAD}),
        ({"pooler": "on"}, {}),
        ({"pooler": "on", "statement_timeout": "0"}, {"pooler": Level.WARN}),
        ({"pooler": "off", "statement_timeout": "0"}, {}),
    ],
)
def test_each_fault_of_a_postgres(settings, expected):
    """A standby cannot work; the other settings lose writes."""
    assert levels(judge_postgres({**GOOD_POSTGRES, **settings}, APPLIED)) == expected


def test_each_fault_of_a_sqlite_file():
    """A damaged file cannot work; another journal mode works slowly."""
    assert levels(judge_sqlite("ok", "wal", APPLIED)) == {}
    assert levels(judge_sqlite("row 3 missing from index", "wal", APPLIED)) == {"integrity": Level.BAD}
    assert levels(judge_sqlite("ok", "delete", APPLIED)) == {"journal": Level.WARN}


def test_a_schema_that_a_newer_grange_has_upgraded():
    """It must not be used. An older schema is upgraded at the start; the schema of another package is ignored."""
    assert levels(judge_schema("postgres", [("membership", 1), ("membership", 2), ("membership", 99)])) == {
        "schema of membership": Level.BAD
    }
    assert levels(judge_schema("sqlite", [("storage", 1)])) == {}
    assert levels(judge_schema("sqlite", [("stranger", 7)])) == {}
