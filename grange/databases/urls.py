"""A database URL, parsed once; the parsed form shows no user, password or options. Pure.

Used by every provider that connects through a network, and by messages that name a store.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import PurePath
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, unquote_plus, urlsplit

import msgspec

from grange.errors import ConfigurationError
from grange.security.references import Reference, has_references, only_references, parse

HIDDEN = "…"
"""Stands in messages for a part of a URL that may hold a password."""

ESCAPES = "in a URL, write '%', '@', ':', '/', '?' and '#' of a password as %25, %40, %3A, %2F, %3F and %23"

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")

_HOST_PART = re.compile(r"[^/?#]*")
"""As in RFC 3986, appendix B. `urlsplit` knows one host only: some Pythons refuse brackets in its middle."""


class DatabaseUrl(msgspec.Struct, frozen=True):
    """The parts of `scheme://user:password@host:port,host:port/path?option=value`."""

    scheme: str
    hosts: tuple[tuple[str, int | None], ...]
    """Each host with its port. No host, or an empty one: the driver's default host. None: the scheme's usual port."""
    path: str
    """With its first slash; percent-encoding is decoded."""
    options: Mapping[str, str]
    username: str | None
    password: str | None
    place: str
    """The hosts as the URL writes them, for messages. HIDDEN if they may be the beginning of a password."""

    @property
    def shown(self) -> str:
        """The URL for messages: without user, password and options."""
        return f"{self.scheme}://{self.place}" + ("" if self.place == HIDDEN else self.path)

    def server(self, default_host: str) -> str:
        """The hosts for messages. `default_host` names the host of a URL that names none."""
        if self.place == HIDDEN:
            return f"{HIDDEN} (an '@' stands in an option of its URL; if it ends a password: {ESCAPES})"
        return f"{default_host}{self.place}" if self.place[:1] in ("", ":") else self.place

    def target(self, default_host: str) -> str:
        """The hosts and the path for messages."""
        return self.server(default_host) + ("" if self.place == HIDDEN else self.path)

    def __repr__(self) -> str:
        return f"DatabaseUrl({self.shown})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("shown", self.shown)]


class SecretUrl(str):
    """A URL whose secrets are filled in, as they were when it was made. `template` has the references in their place.

    It is a text, so that every driver and provider takes it; `CredentialSource` reads the secrets again. `secrets` is
    what read them (`grange/security/secrets.py`), or None: the source makes its own.
    """

    __slots__ = ("secrets", "template")

    template: str
    secrets: object

    @staticmethod
    def of(url: str, template: str, secrets: object = None) -> SecretUrl:
        """The URL `url`, made from a template."""
        made = SecretUrl(url)
        made.template = template
        made.secrets = secrets
        return made

    def __repr__(self) -> str:
        return f"SecretUrl({shown_url(self)})"


class Credentials(msgspec.Struct, frozen=True):
    """User and password; None: the driver's default."""

    username: str | None = None
    password: str | None = None

    def __repr__(self) -> str:
        return f"Credentials({HIDDEN})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return []


def scheme_of(url: str) -> str | None:
    """The scheme with which a URL begins. None for a text without one: every part of it may be a password."""
    found = _SCHEME.match(url)
    return None if found is None else found[1]


def parse_url(url: str, form: str) -> DatabaseUrl:
    """The parts of a URL. `form` is the text in the error that shows how such a URL is written.

    Raises ConfigurationError for a malformed URL; the error shows no part of it.
    """
    host_part = _host_part(url)
    try:
        parts = urlsplit(url.replace(f"://{host_part}", "://host", 1))
        credentials, _, place = host_part.rpartition("@")
        if ("[" in credentials) != ("]" in credentials):
            raise ValueError
        hosts = tuple(_host(each) for each in place.split(",")) if place else ()
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
    except ValueError:
        # Most often the host part ends early, inside a password.
        reason = "a host is written as host or host:port, the port as a number up to 65535"
        raise malformed(form, f"{reason}; {ESCAPES}") from None
    # An unescaped `/`, `?` or `#` in a password ends the host part early and leaves the `@` behind it.
    is_at_in_query = bool(host_part) and "@" in parts.query
    is_at_misplaced = bool(host_part) and (
        "@" in parts.path or any("@" in name for name in options) or (is_at_in_query and not parts.path)
    )
    if scheme_of(url) is None or parts.fragment or is_at_misplaced:
        raise malformed(
            form,
            "after the host part, no '@' and no '#' is allowed; write '@', '/', '?' and '#' "
            "inside a user, password, database or option as %40, %2F, %3F and %23",
        )
    if is_at_in_query:  # the value of an option, or the end of a password
        place = HIDDEN
    username, _, password = credentials.partition(":")
    path = unquote(parts.path)
    return DatabaseUrl(parts.scheme, hosts, path, options, unquote(username) or None, unquote(password) or None, place)


def credentials_of(url: DatabaseUrl) -> Credentials:
    """User and password before the host, else among the options."""
    options = url.options
    return Credentials(
        url.username or options.get("user") or options.get("username"), url.password or options.get("password")
    )


def malformed(form: str, reason: str) -> ConfigurationError:
    """The error for a URL that cannot be used. `form` shows how to write it."""
    return ConfigurationError(f"the URL is malformed: {reason}; write '{form}'")


def sqlite_url(path: PurePath) -> str:
    """The URL of a SQLite file. Each character of the path means itself, also `%`, `#` and `?`."""
    return f"sqlite:///{quote(path.as_posix())}"


def with_option(url: str, name: str, value: str) -> str:
    """The URL with one more option."""
    return f"{url}{'&' if '?' in url else '?'}{name}={quote(value)}"


def without_options(url: str, names: Collection[str]) -> str:
    """The URL without the options of these names; the rest as it is written. A SecretUrl stays one."""
    place, _, query = url.partition("?")
    kept = [pair for pair in query.split("&") if pair and unquote_plus(pair.partition("=")[0]) not in names]
    rest = "?".join((place, *(["&".join(kept)] if kept else [])))
    return SecretUrl.of(rest, url.template, url.secrets) if isinstance(url, SecretUrl) else rest


def without_login(url: str) -> str:
    """The URL without user and password before its host; the rest as it is written."""
    host_part = _host_part(url)
    return url.replace(f"://{host_part}", f"://{host_part.rpartition('@')[2]}", 1)


def shown_url(url: str) -> str:
    """Any URL for messages: without user, password and options. Of a malformed URL only the scheme is shown.

    References to secrets are shown as they are written, and never the values.
    """
    template = url.template if isinstance(url, SecretUrl) else url
    if has_references(template):
        return shown_template(template)
    try:
        return parse_url(url, "").shown
    except ConfigurationError:
        scheme = scheme_of(url)
        return HIDDEN if scheme is None else f"{scheme}://{HIDDEN}"


def _host_part(url: str) -> str:
    """The credentials and hosts, as the URL writes them; empty if it has none."""
    scheme = _SCHEME.match(url)
    found = None if scheme is None else _HOST_PART.match(url, scheme.end())
    return "" if found is None else found[0]


def _host(text: str) -> tuple[str, int | None]:
    parts = urlsplit(f"//{text}")
    if parts.path or not (parts.hostname or text.startswith(":")):
        raise ValueError
    return parts.hostname or "", parts.port


def shown_template(template: str) -> str:
    """A URL with references for messages: the references as they are written, no user, no literal password."""
    try:
        if only_references(template):
            return template
        masked, references = masked_template(template)
        shown = parse_url(masked, "").shown
        login = _host_part(masked).rpartition("@")[0].partition(":")[2]
    except ConfigurationError:
        scheme = scheme_of(template)
        return HIDDEN if scheme is None else f"{scheme}://{HIDDEN}"
    if login and not _MASK.sub("", login):  # a password that consists of references alone
        shown = shown.replace("://", f"://{HIDDEN}:{login}@", 1)
    return _MASK.sub(lambda found: str(references[int(found[1])]), shown)


_MASK = re.compile(r"referenceno(\d+)x")


def masked_template(template: str) -> tuple[str, list[Reference]]:
    """The template as a URL, with a word in the place of each reference, which may have '/', '#' and '@' inside."""
    references: list[Reference] = []
    texts: list[str] = []
    for part in parse(template):
        if isinstance(part, Reference):
            texts.append(f"referenceno{len(references)}x")
            references.append(part)
        else:
            texts.append(part)
    return "".join(texts), references


def filled_template(template: str, values: Sequence[str]) -> tuple[str, list[str]]:
    """The URL with these values in the places of its references, and those among them that are secret.

    A value that is the whole URL stands as it is. Elsewhere it is escaped, so that each character means itself; that of
    a host may also be a list of hosts and ports. Raises ConfigurationError, which shows no value.
    """
    if any(not value.isprintable() for value in values):
        raise ConfigurationError("a secret inside a URL has a line break or another control character")
    if only_references(template) and len(values) == 1:
        found = parse_url(values[0], "scheme://user:password@host/name")
        return values[0], [
            each for each in (credentials_of(found).password, *found.options.values(), values[0]) if each
        ]
    masked, _ = masked_template(template)
    secret: list[str] = []

    def fill(found: re.Match[str]) -> str:
        value, part = values[int(found[1])], _part_at(masked, found.start())
        if part in ("password", "option"):
            secret.append(value)
        return quote(value, safe=":,[]" if part == "host" else "")

    return _MASK.sub(fill, masked), secret


def _part_at(url: str, index: int) -> str:
    """The part of a URL to which a place in it belongs: "user", "password", "host", "path" or "option"."""
    scheme = _SCHEME.match(url)
    begin = 0 if scheme is None else scheme.end()
    end = begin + len(_host_part(url))
    if index < end:
        login = url.rfind("@", begin, end)
        if index > login:
            return "host"
        return "password" if ":" in url[begin:index] else "user"
    query = url.find("?", end)
    return "option" if 0 <= query < index else "path"
