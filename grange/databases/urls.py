"""A database URL, parsed once; the parsed form shows no user, password or options. Pure.

Used by every provider that connects through a network, and by messages that name a store.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from grange.errors import ConfigurationError


class DatabaseUrl(msgspec.Struct, frozen=True):
    """The parts of `scheme://user:password@host:port,host:port/path?option=value`."""

    scheme: str
    hosts: tuple[tuple[str, int | None], ...]
    """Each host with its port; None: the scheme's usual port. Empty: the driver's default host."""
    path: str
    """With its first slash; percent-encoding is decoded."""
    options: Mapping[str, str]
    username: str | None
    password: str | None
    place: str
    """The hosts as the URL writes them, for messages."""

    @property
    def shown(self) -> str:
        """The URL for messages: without user, password and options."""
        return f"{self.scheme}://{self.place}{self.path}"

    def __repr__(self) -> str:
        return f"DatabaseUrl({self.shown})"


def parse_url(url: str, form: str) -> DatabaseUrl:
    """The parts of a URL. `form` is the text in the error that shows how such a URL is written.

    Raises ConfigurationError for a malformed URL; the error shows no part of it.
    """
    try:
        parts = urlsplit(url)
        credentials, _, place = parts.netloc.rpartition("@")
        hosts = tuple(_host(each) for each in place.split(",")) if place else ()
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
    except ValueError:
        raise malformed(form, "a host is written as host or host:port, the port as a number up to 65535") from None
    # An unescaped `/`, `?` or `#` in a password ends the host part early and leaves the `@` behind it.
    misplaced = hosts and ("@" in parts.path or any("@" in name for name in options))
    if "://" not in url or parts.fragment or misplaced:
        raise malformed(form, "write '@', '/', '?' and '#' inside a name or password as %40, %2F, %3F and %23")
    username, _, password = credentials.partition(":")
    path = unquote(parts.path)
    return DatabaseUrl(parts.scheme, hosts, path, options, unquote(username) or None, unquote(password) or None, place)


def malformed(form: str, reason: str) -> ConfigurationError:
    """The error for a URL that cannot be used. `form` shows how to write it."""
    return ConfigurationError(f"the URL is malformed: {reason}; write '{form}'")


def shown_url(url: str) -> str:
    """Any URL for messages: without user, password and options. Of a malformed URL only the scheme is shown."""
    try:
        return parse_url(url, "").shown
    except ConfigurationError:
        scheme, separator, _ = url.partition("://")
        return f"{scheme}://…" if separator else "…"


def _host(text: str) -> tuple[str, int | None]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname or parts.path:
        raise ValueError
    return parts.hostname, parts.port
