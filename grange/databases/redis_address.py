"""The URL of a Redis behind Sentinels, taken apart. Pure; used by `redis_link.py` and by storage."""

from __future__ import annotations

from typing import NoReturn
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

from grange.errors import ConfigurationError

SENTINEL_PORT = 26379
"""Where a Sentinel listens unless the URL says otherwise."""

FORM = "redis+sentinel://[user:password@]host:port[,host:port...]/service-name[/database]"


class SentinelAddress(msgspec.Struct, frozen=True):
    """A service as its Sentinels know it. User and password are those of Redis; the Sentinels may have their own."""

    hosts: tuple[tuple[str, int], ...]
    service: str
    database: int = 0
    username: str | None = None
    password: str | None = None
    sentinel_username: str | None = None
    sentinel_password: str | None = None

    @property
    def place(self) -> str:
        """For messages: no passwords."""
        hosts = ", ".join(f"{host}:{port}" for host, port in self.hosts)
        return f"service {self.service!r} of the Sentinels at {hosts}"

    def __repr__(self) -> str:
        return f"SentinelAddress({self.place})"


def sentinel_address(url: str) -> SentinelAddress:
    """The parts of a `redis+sentinel://` URL. Raises ConfigurationError, which shows none of them."""
    parts = urlsplit(url)
    credentials, _, hosts = parts.netloc.rpartition("@")
    username, _, password = credentials.partition(":")
    service, _, database = parts.path.strip("/").partition("/")
    query = parse_qs(parts.query)
    if not hosts or not service or (database and not database.isdigit()) or parts.fragment:
        _refuse("it must name a Sentinel and the service that it watches")
    if unknown := set(query) - {"sentinel_username", "sentinel_password"}:
        _refuse(f"unknown option {', '.join(sorted(unknown))}; known are sentinel_username and sentinel_password")
    return SentinelAddress(
        tuple(_host_and_port(each) for each in hosts.split(",")),
        unquote(service),
        int(database or 0),
        unquote(username) or None,
        unquote(password) or None,
        query.get("sentinel_username", [None])[0],
        query.get("sentinel_password", [None])[0],
    )


def _host_and_port(text: str) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
        if parts.hostname:
            return parts.hostname, parts.port or SENTINEL_PORT
    except ValueError:
        pass
    _refuse("a Sentinel is written as host or host:port")


def _refuse(reason: str) -> NoReturn:
    raise ConfigurationError(f"not a Sentinel URL: {reason}; write '{FORM}'")
