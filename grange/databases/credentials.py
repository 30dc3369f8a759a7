"""The credentials of a store, read again for each new connection: they change without a restart.

They change if they have references to secrets (`grange/security/references.py`): in the URL, or as a whole URL; a
silo gives such a URL as a `SecretUrl`. `?password_file=/run/secrets/password` is another way to write the password
`${file:/run/secrets/password}`. Of a whole URL that is read again only user and password count.

While a store is open, `replacing` looks for other credentials, too, and replaces the connections that began with
earlier ones. Those that the store refuses are read again once (`log_in`); then there is a pause.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar, cast

from grange.aio.backoff import Backoff
from grange.aio.tasks import Tasks
from grange.aio.throttled_log import ThrottledLog
from grange.databases.errors import DatabaseError, DatabaseMisconfigured, DatabaseUnavailable
from grange.databases.secret_urls import filled_url
from grange.databases.urls import (
    Credentials,
    DatabaseUrl,
    SecretUrl,
    credentials_of,
    malformed,
    parse_url,
    without_login,
    without_options,
)
from grange.errors import ConfigurationError, SecretUnavailable
from grange.security.references import Reference
from grange.security.secret import Secret
from grange.security.secret_file import read_file
from grange.security.secrets import Secrets

log = logging.getLogger("grange.storage")

PASSWORD_FILE = "password_file"  # noqa: S105 the name of an option
_LOGIN = frozenset({"user", "username", "password"})

LOOK_PERIOD = 5.0
"""Seconds between two looks at the secrets. An earlier password may be withdrawn this long after they have changed."""

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 5.0
"""Seconds without a login after one that was refused, unless the credentials change: servers lock users out."""


T = TypeVar("T")

Part = Callable[[DatabaseUrl], Credentials]
"""Finds the credentials in a URL."""


class CredentialSource:
    """The credentials for new connections to one store: those of its URL, or those that its secrets hold now."""

    def __init__(self, url: str, form: str, part: Part = credentials_of) -> None:
        """Raises ConfigurationError for a malformed URL and for a password file that cannot be used."""
        parsed = parse_url(url, form)
        self.last = part(parsed)
        self.url = without_options(url, {PASSWORD_FILE})
        """The URL for the driver: without this option and, if they change, without user and password."""
        self._form = form
        self._part = part
        self._template = url.template if isinstance(url, SecretUrl) else ""
        self._file = Reference("file", parsed.options[PASSWORD_FILE]) if PASSWORD_FILE in parsed.options else None
        self._secrets = cast("Secrets | None", url.secrets) if isinstance(url, SecretUrl) else None
        self._warnings = ThrottledLog(log)
        self._accepted: Credentials | None = None
        self._refused: Credentials | None = None
        self._retry_at = 0.0
        self._backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE, random.Random())  # noqa: S311 no secret
        if not self.changes:
            return
        self._secrets = self._secrets or Secrets()
        self.url = without_login(without_options(self.url, _LOGIN))
        if self._file is not None:
            if self.last.password is not None:
                raise malformed(form, f"give the password once: in the URL or by the option {PASSWORD_FILE}")
            self.last = self._with_password(_at_start(self._file))

    @property
    def changes(self) -> bool:
        """Whether they may change."""
        return bool(self._template) or self._file is not None

    async def read(self, fresh: bool = False) -> Credentials:
        """The credentials for a connection that is opened now. `fresh`: the last ones were refused.

        Raises DatabaseUnavailable if no value may be used: the secrets cannot be read for too long.
        """
        if self.changes:
            try:
                self.last = await self._found(fresh)
            except (ConfigurationError, ValueError) as error:
                self._warnings.warning(
                    "the credentials of a store cannot be read; those read before are used",
                    ConfigurationError(str(error)),
                )
            except SecretUnavailable as error:
                raise DatabaseUnavailable(f"the credentials of the store are not available: {error}") from error
        return self.last

    async def log_in(
        self, name: str, attempt: Callable[[Credentials], Awaitable[T]], is_refusal: Callable[[Exception], bool]
    ) -> T:
        """Open a connection to the store `name` by `attempt`, with the credentials as they are now.

        If it refuses them, they are read again, and tried if they are others by now; then those that it accepted last:
        the secret may have changed before the store. If all are refused, operators are told, there is a pause, and the
        error of the first attempt is raised. Also raises DatabaseMisconfigured during a pause, and DatabaseUnavailable.
        """
        first = await self.read()
        if first == self._refused and asyncio.get_running_loop().time() < self._retry_at:
            raise DatabaseMisconfigured(f"{name} refused the login a moment ago, with the secrets as they are now")
        try:
            return await self._attempt(attempt, first)
        except Exception as error:
            if not (self.changes and is_refusal(error)):
                raise
            refusal = error
        now = await self.read(fresh=True)
        for other in [each for each in dict.fromkeys((now, self._accepted)) if each is not None and each != first]:
            try:
                return await self._attempt(attempt, other)
            except Exception as error:
                if not is_refusal(error):
                    raise
        self._refused, self._accepted = now, None
        self._retry_at = asyncio.get_running_loop().time() + self._backoff.pause()
        assert self._secrets is not None, "credentials that change have secrets"
        self._secrets.refused(name, str(refusal))
        raise refusal

    async def _attempt(self, attempt: Callable[[Credentials], Awaitable[T]], given: Credentials) -> T:
        opened = await attempt(given)
        self._accepted = given
        if self._refused is not None:
            self._refused = None
            self._backoff.reset()
        return opened

    async def _found(self, fresh: bool) -> Credentials:
        assert self._secrets is not None, "credentials that change have secrets"
        if self._file is not None:
            return self._with_password((await self._secrets.read(self._file, fresh)).reveal())
        return self._part(parse_url(await filled_url(self._template, self._secrets, fresh), self._form))

    def _with_password(self, text: str) -> Credentials:
        """Raises ValueError for a text that is no password."""
        if "\n" in text:
            raise ValueError("the file of the password has several lines; the password must be its only line")
        if self._secrets is not None:
            self._secrets.known.add(Secret(text))
        return Credentials(self.last.username, text)


def _at_start(file: Reference) -> str:
    try:
        text = read_file(file.name)
        if "\n" in text:
            raise ConfigurationError("it has several lines; the password must be its only line")
    except ConfigurationError as error:
        raise ConfigurationError(f"the file of the option {PASSWORD_FILE} cannot be read: {error}") from None
    return text


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
        try:
            found = await source.read()
            if found == used:
                continue
            await prove()
            await retire()
        except DatabaseError as error:
            warnings.warning(f"{name} does not accept its new credentials yet; earlier connections go on", error)
            continue
        used = found
        log.info("%s has new credentials; its connections are replaced", name, extra={"event": "credentials_replaced"})
