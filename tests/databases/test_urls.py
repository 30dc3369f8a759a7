"""A database URL: its parts, its refusals, and that no user or password is ever shown."""

from __future__ import annotations

import pytest

from grange.databases.urls import parse_url, shown_url
from grange.errors import ConfigurationError

FORM = "db://user:password@host[:port]/name"


def test_all_parts() -> None:
    """Percent signs are decoded; several hosts may be named."""
    found = parse_url("db://me:p%40ss%2F@one:1,[::1],Two/my%20name?a=1&b=", FORM)
    assert found.scheme == "db"
    assert found.hosts == (("one", 1), ("::1", None), ("two", None))
    assert (found.username, found.password) == ("me", "p@ss/")
    assert (found.path, found.options) == ("/my name", {"a": "1", "b": ""})
    assert found.shown == "db://one:1,[::1],Two/my name"


def test_optional_parts() -> None:
    """Credentials, port, path, and the host itself: drivers have a default host."""
    assert parse_url("db://host", FORM).hosts == (("host", None),)
    assert parse_url("db:///name", FORM).hosts == ()


@pytest.mark.parametrize(
    "url",
    [
        "db://user:s3cret@host:port/name",
        "db://user:s3cret@host:99999/name",
        "db://user:s3cret@one,,two/name",
        "db://user:s3cret@[::1/name",
        "db://user:s3cret@host/name#fragment",
        "db://user:1/s3cret@host/name",
        "db://user:1?s3cret@host/name",
        "db://user:1#s3cret@host/name",
    ],
)
def test_a_malformed_url_names_the_expected_form(url: str) -> None:
    """Also a password whose `/`, `?` or `#` ends the host part early. The error shows nothing of the URL."""
    with pytest.raises(ConfigurationError, match="write 'db://user:password@host") as caught:
        parse_url(url, FORM)
    assert "s3cret" not in str(caught.value)
    assert shown_url(url) == "db://…"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("memory://", "memory://"),
        ("sqlite:///state@home.db", "sqlite:///state@home.db"),
        ("db://user:s3cret@host:1/name?password=s3cret", "db://host:1/name"),
        ("user:s3cret@host", "…"),
    ],
)
def test_a_shown_url_has_no_user_password_and_options(url: str, shown: str) -> None:
    assert shown_url(url) == shown


def test_the_parts_do_not_show_the_password_in_a_traceback() -> None:
    assert "s3cret" not in repr(parse_url("db://user:s3cret@host/name?password=s3cret", FORM))
