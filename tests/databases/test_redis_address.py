"""A Sentinel URL: its parts, its refusals, and that no password is ever shown."""

from __future__ import annotations

import pytest

from grange.databases.redis_address import credentials_of_sentinels, sentinel_address
from grange.databases.urls import Credentials, credentials_of, parse_url
from grange.errors import ConfigurationError


def test_all_parts():
    """Percent signs are decoded; the Sentinels have credentials of their own."""
    url = "redis+sentinel://me:p%40ss@one:1,two/table/3?sentinel_password=other&sentinel_username=it"
    found, parsed = sentinel_address(url), parse_url(url, "")
    assert found.hosts == (("one", 1), ("two", 26379))
    assert (found.service, found.database) == ("table", 3)
    assert credentials_of(parsed) == Credentials("me", "p@ss")
    assert credentials_of_sentinels(parsed) == Credentials("it", "other")


def test_optional_parts():
    """Credentials, port and database may be missing."""
    found = sentinel_address("redis+sentinel://one/table")
    assert (found.hosts, found.service, found.database) == ((("one", 26379),), "table", 0)
    assert credentials_of_sentinels(parse_url("redis+sentinel://me:p@one/table", "")) == Credentials()
    assert sentinel_address("redis+sentinel://:s3cret@[::1]:5/table").hosts == (("::1", 5),)


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://user:s3cret@/table",
        "redis+sentinel://user:s3cret@one",
        "redis+sentinel://user:s3cret@one/table/x",
        "redis+sentinel://user:s3cret@one:port/table",
        "redis+sentinel://user:s3cret@one,/table",
        "redis+sentinel://user:s3cret@:26379/table",
        "redis+sentinel://user:1/s3cret?s3cret=b@one/table",
        "redis+sentinel://user:s3cret@one/table?password=s3cret",
        "redis+sentinel://user:s3cret@one/table#s3cret",
    ],
)
def test_a_malformed_url_names_the_expected_form(url):
    """The error shows nothing of the URL."""
    with pytest.raises(ConfigurationError, match="service-name") as caught:
        sentinel_address(url)
    assert "s3cret" not in str(caught.value)


def test_no_password_is_shown():
    """Not in logs and not in tracebacks."""
    url = "redis+sentinel://user:s3cret@one/table?sentinel_password=canary"
    found, parsed = sentinel_address(url), parse_url(url, "")
    shown = repr((found, parsed, credentials_of(parsed), credentials_of_sentinels(parsed))) + found.place
    assert "s3cret" not in shown
    assert "canary" not in shown
