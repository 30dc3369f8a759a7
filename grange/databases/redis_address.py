"""The URL of a Redis behind Sentinels, and the options of grange in the URL of any Redis. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from grange.databases.urls import HIDDEN, Credentials, DatabaseUrl, malformed, parse_url

SENTINEL_PORT = 26379
"""The port of a Sentinel unless the URL names another."""

FORM = "redis+sentinel://[user:password@]host:port[,host:port...]/service-name[/database]"

COPIES = "replicas"
"""The option that says how many replicas must have a change of state before it counts as made."""

MOST_COPIES = 100

_OPTIONS = frozenset({"sentinel_username", "sentinel_password"})


class SentinelAddress(msgspec.Struct, frozen=True):
    """A Redis service behind Sentinels, without credentials."""

    hosts: tuple[tuple[str, int], ...]
    service: str
    database: int = 0

    @property
    def place(self) -> str:
        """For messages: without passwords."""
        hosts = ", ".join(f"{host}:{port}" for host, port in self.hosts)
        return f"service {self.service!r} of the Sentinels at {hosts}"

    def __repr__(self) -> str:
        return f"SentinelAddress({self.place})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("place", self.place)]


def sentinel_address(url: str) -> SentinelAddress:
    """The parts of a `redis+sentinel://` URL. Raises ConfigurationError, which shows none of them."""
    parsed = parse_url(url, FORM)
    service, _, database = parsed.path.strip("/").partition("/")
    has_hosts = parsed.hosts and all(host for host, _ in parsed.hosts)
    if not has_hosts or not service or (database and not database.isdigit()):
        raise malformed(FORM, "it must name a Sentinel and the service that the Sentinel watches")
    if unknown := parsed.options.keys() - _OPTIONS:
        names = "an option" if parsed.place == HIDDEN else f"the option {', '.join(sorted(unknown))}"
        raise malformed(FORM, f"{names} is unknown; known are sentinel_username, sentinel_password and {COPIES}")
    return SentinelAddress(
        tuple((host, port or SENTINEL_PORT) for host, port in parsed.hosts),
        service,
        int(database or 0),
    )


def credentials_of_sentinels(url: DatabaseUrl) -> Credentials:
    """Those of the Sentinels, which may differ from those of Redis."""
    return Credentials(url.options.get("sentinel_username"), url.options.get("sentinel_password"))


def copies_of(url: DatabaseUrl, form: str, default: int) -> int:
    """The number of replicas that confirm a change. Raises ConfigurationError."""
    text = url.options.get(COPIES, str(default))
    if not (text.isascii() and text.isdigit()) or int(text) > MOST_COPIES:
        raise malformed(form, f"the option {COPIES} is a number from 0 to {MOST_COPIES}")
    return int(text)
