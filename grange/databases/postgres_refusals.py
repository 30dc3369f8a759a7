"""Names the setting that is wrong, and the remedy, when Postgres or a connection pooler refuses something. Pure.

Used by `postgres.py`. The code is Postgres' SQLSTATE; PgBouncer answers most faults with 08P01, so there the words
decide.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

import msgspec

from grange.databases.urls import ESCAPES

MIGRATE = (
    "run `grange migrate` once, as a user that may create tables (docs/operations/configuration.md, Rights in Postgres)"
)

POOL_MODES = "set pool_mode = session or transaction (docs/operations/configuration.md, Connection poolers)"

POOLER_REMEDY = (
    "remove it from the URL, let the pooler ignore it (PgBouncer: ignore_startup_parameters), "
    "or name Postgres itself (docs/operations/configuration.md, Connection poolers)"
)

_POOLER_STATE = "08P01"

_OBJECT = re.compile(r"(?:for|of) (table|schema|function|database|view|relation) \"?([\w.$-]+)\"?")


class Login(msgspec.Struct, frozen=True):
    """The user and the database that a URL names, for the remedies."""

    user: str
    database: str


UNKNOWN = Login("the user", "the database")
"""For a pool that an application made."""


def refusal(state: str, message: str, login: Login) -> str | None:
    """The refusal in words, with its remedy. None for an error that a setting does not cause."""
    if is_startup_refusal(message):
        return f"a connection pooler refuses a start-up parameter: {message}; {POOLER_REMEDY}"
    if "statement pooling" in message:
        return f"the connection pooler allows no transactions: {message}; {POOL_MODES}"
    if state == _POOLER_STATE:
        return _pooler_refusal(message)
    words = _WORDS.get(state)
    return None if words is None else words(message, login)


def is_startup_refusal(message: str) -> bool:
    """Whether a pooler refuses to open a session with a parameter that it does not keep."""
    return "startup parameter" in message.lower()


def _pooler_refusal(message: str) -> str | None:
    text = message.lower()
    if "no such database" in text:
        return f"the connection pooler does not know the database: {message}; add it to the pooler, or correct the URL"
    if "no such user" in text or "auth" in text:
        return f"the connection pooler refused the login that its URL names: {message}; {_LOGIN_REMEDY}"
    return None


_LOGIN_REMEDY = f"correct user and password ({ESCAPES})"


def _login(message: str, login: Login) -> str:
    remedy = _LOGIN_REMEDY
    if "pg_hba.conf" in message:
        tls = ", or ask for TLS: ?sslmode=require" if "no encryption" in message else ""
        remedy = f"permit this host, user and database in pg_hba.conf{tls}"
    elif "does not exist" in message:
        remedy = f"create the role, or correct the user; {ESCAPES}"
    elif "not permitted to log in" in message:
        remedy = f"ALTER ROLE {login.user} LOGIN"
    return f"it refused the login that its URL names: {message}; {remedy}"


def _no_database(message: str, login: Login) -> str:
    return f"the database that its URL names is absent: {message}; create it (createdb {login.database}), or correct it"


def _no_right(message: str, login: Login) -> str:
    return f"a right is missing: {message}; {_right_remedy(message, login)}"


def _right_remedy(message: str, login: Login) -> str:
    found = _OBJECT.search(message)
    kind, name = (found[1], found[2]) if found else ("", "")
    if "row-level security" in message:
        return f"add a policy that lets {login.user} read and write every row of {name or 'the table'}"
    if "must be owner" in message:
        return f"run `grange migrate` as the owner of {name or 'the tables'}"
    if kind in ("table", "view", "relation"):
        return f"GRANT {privileges_of(name)} ON {name} TO {login.user}"
    if kind == "schema":
        return (
            f"if its tables are in another schema, ALTER ROLE {login.user} SET search_path to it; if in {name}, "
            f"GRANT USAGE ON SCHEMA {name} TO {login.user}; if they are missing, {MIGRATE}"
        )
    if kind == "function":
        return f"GRANT EXECUTE ON FUNCTION {name} TO {login.user}"
    if "CONNECT" in message or kind == "database":
        return f"GRANT CONNECT ON DATABASE {login.database} TO {login.user}"
    return "grant it (docs/operations/configuration.md, Rights in Postgres)"


PRIVILEGES: Mapping[str, str] = MappingProxyType(
    {
        "grange_schema": "SELECT",
        "grange_membership_version": "SELECT, INSERT, UPDATE",
        "grange_membership_silo": "SELECT, INSERT, UPDATE, DELETE",
        "grange_state": "SELECT, INSERT, UPDATE, DELETE",
        "grange_dead_silos": "SELECT, INSERT, UPDATE, DELETE",
        "grange_inbox": "SELECT, INSERT, UPDATE, DELETE",
        "grange_reminder": "SELECT, INSERT, UPDATE, DELETE",
        "grange_index": "SELECT, INSERT, UPDATE, DELETE",
    }
)
"""The rights that a running silo uses, by table. A test compares them with docs/operations/configuration.md."""


def privileges_of(table: str) -> str:
    """The rights on a table that a silo needs."""
    return PRIVILEGES.get(table.rpartition(".")[2], "SELECT, INSERT, UPDATE, DELETE")


def _no_schema(message: str, login: Login) -> str:
    return (
        f"no schema is usable: {message}; ALTER ROLE {login.user} SET search_path to the schema of the tables, and "
        f"GRANT USAGE on it; if its tables are missing, {MIGRATE}"
    )


def _no_table(message: str, login: Login) -> str:
    return (
        f"its tables are missing or old: {message}; {MIGRATE}. If they exist in another schema, "
        f"ALTER ROLE {login.user} SET search_path to it"
    )


def _mixed_sessions(message: str, _login: Login) -> str:
    return (
        f"a connection pooler gives one session to several clients: {message}; set pool_mode = session, or do not let "
        "it accept the start-up parameter statement_timeout (docs/operations/configuration.md, Connection poolers)"
    )


_WORDS: Mapping[str, Callable[[str, Login], str]] = MappingProxyType(
    {
        "28000": _login,
        "28P01": _login,
        "3D000": _no_database,
        "42501": _no_right,
        "3F000": _no_schema,
        "42P01": _no_table,
        "42883": _no_table,
        "42703": _no_table,
        "26000": _mixed_sessions,
        "42P05": _mixed_sessions,
    }
)
"""By SQLSTATE: 28 login, 3D and 3F names, 42 rights and missing objects, 26000 and 42P05 prepared statements."""
