"""A database URL: its parts, its refusals, and that no user or password is ever shown."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grange.databases.providers import load_provider
from grange.databases.redis_address import sentinel_address
from grange.databases.urls import parse_url, scheme_of, shown_url
from grange.errors import ConfigurationError
from grange.membership.urls import open_table

FORM = "db://user:password@host[:port]/name"


def test_all_parts() -> None:
    """Percent signs are decoded; several hosts may be named."""
    found = parse_url("db://me:p%40ss%2F@one:1,[::1],Two/my%20name?a=1&b=", FORM)
    assert found.scheme == "db"
    assert found.hosts == (("one", 1), ("::1", None), ("two", None))
    assert (found.username, found.password) == ("me", "p@ss/")
    assert (found.path, found.options) == ("/my name", {"a": "1", "b": ""})
    assert found.shown == "db://one:1,[::1],Two/my name"


@pytest.mark.parametrize("place", ["one:1,[::1],two", "[::1]:1,[::2]:2", "[::1]", "u:p@one,[::1]:7"])
def test_an_ipv6_host_may_stand_anywhere_among_several(place: str) -> None:
    """Some Pythons refuse such a host part as a whole, so it is not given to them as a whole."""
    shown = place.rpartition("@")[2]
    assert parse_url(f"db://{place}/name", FORM).shown == f"db://{shown}/name"


def test_slashes_of_a_path_are_no_host() -> None:
    found = parse_url("db:////var/lib/a.db", FORM)
    assert (found.hosts, found.path) == ((), "//var/lib/a.db")


def test_optional_parts() -> None:
    """Credentials, port, path, and the host itself: drivers have a default host."""
    assert parse_url("db://host", FORM).hosts == (("host", None),)
    assert parse_url("db:///name", FORM).hosts == ()


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("db://:6379/0", "local:6379"),
        ("db://:6379", "local:6379"),
        ("db://u:p@:6379", "local:6379"),
        ("db:///0", "local"),
        ("db://host:1/0", "host:1"),
    ],
)
def test_an_empty_host_is_the_drivers_default_host(url: str, server: str) -> None:
    found = parse_url(url, FORM)
    assert found.server("local") == server
    assert found.target("local") == server + found.path


@pytest.mark.parametrize(
    ("url", "scheme"), [("a+b.c-1://x", "a+b.c-1"), ("1a://x", None), ("u:p@h?f=file:///x", None), (" a://x", None)]
)
def test_a_scheme_stands_at_the_beginning(url: str, scheme: str | None) -> None:
    assert scheme_of(url) == scheme


def test_an_at_sign_behind_the_host_part_has_a_true_reason() -> None:
    with pytest.raises(ConfigurationError, match=r"after the host part, no '@'.*database or option as %40"):
        parse_url("db://h/my@db", FORM)
    assert parse_url("db://h/my%40db", FORM).path == "/my@db"


def test_hosts_are_hidden_when_they_may_begin_a_password() -> None:
    """An `@` in the value of an option is accepted. It may also end a password with an unescaped `/` and `?`."""
    found = parse_url("db://user:54321/p?a=b@host/db", FORM)
    assert found.options == {"a": "b@host/db"}
    assert found.shown == "db://…"
    for text in (found.target("local"), found.server("local")):
        assert text.startswith("… (an '@' stands in an option of its URL; if it ends a password: ")


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
        "db://user:123?x=s3cret@host/name",
        "db://user:123?s3cret@host/name?x=1",
        "db://user:123/4?s3cret@host/name",
        "db://user:123/4?a=b&s3cret@host/name",
    ],
)
def test_a_malformed_url_names_the_expected_form(url: str) -> None:
    """Also a password whose `/`, `?` or `#` ends the host part early. The error shows nothing of the URL."""
    with pytest.raises(ConfigurationError, match="write 'db://user:password@host") as caught:
        parse_url(url, FORM)
    assert "s3cret" not in str(caught.value)
    assert shown_url(url) == "db://…"


@pytest.mark.parametrize(
    "password", ["pa/ss", "pa?ss", "pa#ss", "/pass", "1#pass", "12/4", "12?x", "[pass", "p[a]ss/", "#1"]
)
@pytest.mark.parametrize("user", ["user", ""])
def test_an_unescaped_mark_in_a_password_has_its_remedy(user: str, password: str) -> None:
    """Also where the part before it is taken for a host or a port."""
    with pytest.raises(ConfigurationError, match=r"'#' .*as .*%40.*%2F.*%3F.*%23") as caught:
        parse_url(f"db://{user}:{password}@host/name", FORM)
    assert "pass" not in str(caught.value).replace("password", "")


def test_an_at_sign_in_a_password_needs_no_escape() -> None:
    assert parse_url("db://user:p@ss@host/name", FORM).password == "p@ss"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("memory://", "memory://"),
        ("sqlite:///state@home.db", "sqlite:///state@home.db"),
        ("db://user:s3cret@host:1/name?password=s3cret", "db://host:1/name"),
        ("user:s3cret@host", "…"),
        ("user:s3cret@host/name?root=file:///ca.pem", "…"),
        ("memory://user:s3cret@host", "memory://host"),
    ],
)
def test_a_shown_url_has_no_user_password_and_options(url: str, shown: str) -> None:
    assert shown_url(url) == shown


def test_the_parts_do_not_show_the_password_in_a_traceback() -> None:
    """Tools such as rich call `__rich_repr__`."""
    found = parse_url("db://user:s3cret@host/name?password=s3cret", FORM)
    address = sentinel_address("redis+sentinel://user:s3cret@host/name?sentinel_password=s3cret")
    for parts in (found, address):
        assert "s3cret" not in repr(parts) + repr(parts.__rich_repr__())


SECRETS = ("s3cret", "54321")
"""Words of a password. The number can be mistaken for a port."""

MARKS = st.sampled_from(("/", "?", "/p?a=", "?a=b&", "://")) | st.text("/?#@:=&,[]%;+ é\n", max_size=2)
PASSWORDS = st.lists(st.tuples(st.sampled_from(SECRETS), MARKS), min_size=1, max_size=4).map(
    lambda pairs: "".join(word + mark for word, mark in pairs)
)
ENDS = ("@host/db", "@host:1,other/db?x=file:///ca.pem", "@host", "@host?ssl=1", "@host/table/1?x=a@b", "@:6379/0", "@")


@given(
    start=st.sampled_from(("db://user:", "db://:", "redis+sentinel://user:", "memory://user:", "user:", ":", "//u:")),
    password=PASSWORDS,
    end=st.sampled_from(ENDS),
)
def test_no_text_shows_any_word_of_a_password(start: str, password: str, end: str) -> None:
    """However badly the URL is written: special characters are not escaped, the scheme is missing."""
    url = start + password + end
    texts = [shown_url(url)]
    for parse in (lambda text: parse_url(text, FORM), sentinel_address):
        try:
            found: Any = parse(url)
            texts += [repr(found), repr(found.__rich_repr__()), found.place]
            texts += [found.target("local"), found.server("local"), found.shown] if hasattr(found, "shown") else []
        except ConfigurationError as error:
            texts.append(str(error))
    with pytest.raises(ConfigurationError) as caught:
        load_provider("grange.nothing", url, "storage")
    texts.append(str(caught.value))
    assert not any(re.search("s3cret|54321", text) for text in texts), texts


@pytest.mark.parametrize("url", ["memory://u:s3cret@h", "memory://u:54321?x=s3cret@h", "u:s3cret@h?x=file:///a"])
async def test_a_table_in_memory_shows_no_password(url: str) -> None:
    async def open_it() -> None:
        async with open_table(url, "one"):
            pass

    with pytest.raises(ConfigurationError) as caught:
        await open_it()
    assert not re.search("s3cret|54321", str(caught.value))
