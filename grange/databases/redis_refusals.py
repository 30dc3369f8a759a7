"""Names the setting that is wrong, and the remedy, when a Redis refuses something. Pure; used by `redis.py`.

The words of an answer decide, because the driver has no classes for most of them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from grange.databases.redis_facts import NO_CLUSTER
from grange.databases.urls import ESCAPES

IS_SENTINEL = "it is a Sentinel"

NO_TLS = "its port does not speak TLS; write redis:// in place of rediss://, or name its TLS port"

ONLY_TLS = "its port speaks TLS only; write rediss:// in place of redis://, or name its plain port"

RIGHTS = "docs/operations/configuration.md, Rights in Redis, has the whole list"

_COMMAND = re.compile(r"(?i:(?:user (\S+)|this user) has no permissions to run the '([\w|-]+)' command)")

_LOGIN_REFUSED = "it refused the login that its URL names"

_REFUSALS: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (
        (
            *("invalid username-password", "invalid password", "wrongpass", "authentication required", "noauth"),
            "must be called with the client already authenticated",  # HELLO without a login
        ),
        _LOGIN_REFUSED,
        f"correct user and password ({ESCAPES})",
    ),
    (
        ("without any password configured",),
        _LOGIN_REFUSED,
        "remove the password from the URL, or set one in Redis (requirepass, ACL SETUSER)",
    ),
    (
        ("crossslot", "keys in request don't hash to the same slot", "moved ", "clusterdown", "hash slot not served"),
        "it is a node of a Redis Cluster",
        NO_CLUSTER,
    ),
    (("db index is out of range", "invalid database"), "it has no such database", "name another number in the URL"),
    (
        ("protected mode",),
        "it is in protected mode and refuses other hosts",
        "set a password (requirepass, ACL SETUSER) and name it in the URL",
    ),
    ((IS_SENTINEL.lower(),), "it takes no data", "write redis+sentinel://host:port/service-name"),
    (
        (
            "no permissions to access",
            "can't access at least one of the keys",
            "no permissions to access one of the keys",
        ),
        "a right is missing",
        f"ACL SETUSER USER ~grange:*; {RIGHTS}",
    ),
    (
        ("no permissions", "the user executing the script", "exec without multi"),
        "a right is missing",
        f"ACL SETUSER USER +COMMAND; {RIGHTS}",
    ),
)
"""Marks in lower case, what is wrong, and the remedy. The first that fits wins."""


def refusal(reason: str) -> str | None:
    """The refusal in words, with its remedy. None for an error that a setting does not cause."""
    text = reason.lower()
    command = _COMMAND.search(reason)
    if command is not None:
        return f"a right is missing: {reason}; ACL SETUSER {command[1] or 'USER'} +{command[2]}; {RIGHTS}"
    for marks, words, remedy in _REFUSALS:
        if any(mark in text for mark in marks):
            return f"{words}: {reason}; {remedy}"
    return None


def is_login_refusal(reason: str) -> bool:
    """Whether Redis refuses user and password."""
    return (refusal(reason) or "").startswith(_LOGIN_REFUSED)


def refusals(answers: Sequence[str]) -> str:
    """The missing rights among several errors in words, with one remedy for all of them. Empty: none is missing."""
    reasons = [each for each in answers if "no permissions" in each.lower()]
    if not reasons:
        return ""
    found = [match for reason in reasons if (match := _COMMAND.search(reason))]
    if len(found) < len(reasons):  # a key is not permitted: then each of its commands is refused
        return next(words for reason in reasons if not _COMMAND.search(reason) and (words := refusal(reason)))
    rights = " ".join(f"+{name}" for name in dict.fromkeys(match[2] for match in found))
    return f"rights are missing: ACL SETUSER {found[0][1] or 'USER'} {rights}; {RIGHTS}"
