"""The credentials of a store, read again from their file for each new connection: they change without a restart.

An option of the URL names the file. `?password_file=/run/secrets/password`: it holds the password alone.
`?url_file=/run/secrets/storage`: it holds a whole URL, of which only user and password count; a silo adds this option
to a URL that it was given by a file (`GRANGE_STORAGE_FILE`). While a store is open, `replacing` looks at the file, too,
and replaces the connections that began with earlier credentials.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from grange.aio.tasks import Tasks
from grange.aio.throttled_log import ThrottledLog
from grange.databases.errors import DatabaseError
from grange.databases.urls import (
    Credentials,
    DatabaseUrl,
    credentials_of,
    malformed,
    parse_url,
    with_option,
    without_login,
    without_options,
)
from grange.errors import ConfigurationError
from grange.text_files import secret_of

log = logging.getLogger("grange.storage")

PASSWORD_FILE = "password_file"  # noqa: S105 the name of an option
URL_FILE = "url_file"
OPTIONS = frozenset({PASSWORD_FILE, URL_FILE})
_LOGIN = frozenset({"user", "username", "password"})

LOOK_PERIOD = 5.0
"""Seconds between two looks at the file. An earlier password may be withdrawn this long after the file has changed."""


Part = Callable[[DatabaseUrl], Credentials]
"""Finds the credentials in a URL."""


class CredentialSource:
    """The credentials for new connections to one store: those of its URL, or those that a file holds at the moment.

    If the file cannot be read or holds none, as in the middle of a change, the credentials read before are used.
    """

    def __init__(self, url: str, form: str, part: Part = credentials_of) -> None:
        """Reads the file once. Raises ConfigurationError for a malformed URL and a file that cannot be used."""
        parsed = parse_url(url, form)
        self.last = part(parsed)
        self.url = without_options(url, OPTIONS)
        """The URL for the driver: without these options and, if there is a file, without user and password."""
        self._form = form
        self._part = part
        self._user = self.last.username
        self._option = next((name for name in sorted(OPTIONS) if name in parsed.options), "")
        self._path = Path(parsed.options.get(self._option, ""))
        self._warnings = ThrottledLog(log)
        if not self._option:
            return
        self.url = without_login(without_options(self.url, _LOGIN))
        if parsed.options.keys() >= OPTIONS or (self._option == PASSWORD_FILE and self.last.password is not None):
            raise malformed(form, f"give the password once: in the URL or by the option {PASSWORD_FILE}")
        try:
            self.last = self._from_file()
        except ValueError as error:
            raise ConfigurationError(f"the file of the option {self._option} cannot be read: {error}") from None

    @property
    def changes(self) -> bool:
        """Whether there is a file."""
        return bool(self._option)

    async def read(self) -> Credentials:
        """The credentials for a connection that is opened now."""
        if self._option:
            try:
                self.last = await asyncio.to_thread(self._from_file)
            except (ConfigurationError, ValueError) as error:
                self._warnings.warning(
                    "the file of a store's credentials cannot be read; those read before are used",
                    ConfigurationError(str(error)),
                )
        return self.last

    def _from_file(self) -> Credentials:
        """Raises ValueError for a file that cannot be read, ConfigurationError for one that holds no URL."""
        text = secret_of(self._path)
        if self._option == URL_FILE:
            return self._part(parse_url(text, self._form))
        if "\n" in text:
            raise ValueError("it has several lines; the password must be its only line")
        return Credentials(self._user, text)


def with_url_file(url: str, file: Path) -> str:
    """A URL that was read from this file, so that its credentials are read from there again. Pure.

    A URL without a host has no credentials, and one that names the file of its password stays as it is.
    """
    try:
        parsed = parse_url(url, "")
    except ConfigurationError:
        return url  # its error is raised where it is opened
    return with_option(url, URL_FILE, str(file)) if parsed.hosts and not OPTIONS & parsed.options.keys() else url


@asynccontextmanager
async def replacing(
    source: CredentialSource, name: str, prove: Callable[[], Awaitable[object]], retire: Callable[[], Awaitable[None]]
) -> AsyncGenerator[None]:
    """Inside the `async with`, replace the connections to the store `name` after its credentials have changed.

    `prove` opens a connection with the new ones and raises DatabaseError if the store does not accept them yet; until
    it does, the earlier connections go on. Then `retire` lets each of those end when it is not in use.
    """
    tasks = Tasks()
    if source.changes:
        tasks.start(_replace(source, name, prove, retire))
    try:
        yield
    finally:
        await tasks.close()


async def _replace(
    source: CredentialSource, name: str, prove: Callable[[], Awaitable[object]], retire: Callable[[], Awaitable[None]]
) -> None:
    used = source.last
    warnings = ThrottledLog(log)
    while True:
        await asyncio.sleep(LOOK_PERIOD)
        found = await source.read()
        if found == used:
            continue
        try:
            await prove()
            await retire()
        except DatabaseError as error:
            warnings.warning(f"{name} does not accept its new credentials yet; earlier connections go on", error)
            continue
        used = found
        log.info("%s has new credentials; its connections are replaced", name, extra={"event": "credentials_replaced"})
