"""`${vault:secret/shop#password}`: secrets of Vault or OpenBao: a path, and the key there.

A secret without a lease, such as one of the KV engine, is asked for again after `refresh`. One with a lease, such as a
user of a database, is used for all its keys together, and the lease is renewed when two thirds of it are over; so is
that of the token. When the token is refused, the silo logs in anew, once. See `VaultOptions`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

import msgspec

from grange.errors import ConfigurationError, SecretUnavailable
from grange.security.lease import Lease
from grange.security.references import Reference, parse
from grange.security.secret_file import FileSecrets, read_file
from grange.security.secret_variable import VariableSecrets
from grange.security.source import SecretSource
from grange.security.vault_calls import Answer, Denied, VaultCalls
from grange.security.vault_options import VaultOptions

T = TypeVar("T")

RETRY_PAUSE = 1.0
"""Seconds between two attempts to renew something."""


class _Held(msgspec.Struct):
    """What was read of one path."""

    answer: Answer
    lease: Lease
    """Of the KV engine: until it is asked for again."""


class VaultSecrets:
    """See `SecretSource`. The name is `path#key`, as the command `bao kv get` takes the path."""

    def __init__(self, options: object = None) -> None:
        """The options are those of the table `[vault]`. Nothing is asked before the first secret is read."""
        self._options = options if isinstance(options, VaultOptions) else VaultOptions()
        self._lock = asyncio.Lock()
        self._changed = asyncio.Event()
        self._calls: VaultCalls | None = None
        self._token: Lease | None = None
        self._is_renewable = False
        self._held: dict[str, _Held] = {}
        self.logins = 0
        """How often it has logged in."""

    async def read(self, name: str, fresh: bool) -> str:
        """See `SecretSource`."""
        path, _, key = name.partition("#")
        path = path.strip("/")
        if not path or not key:
            raise ConfigurationError(f"'${{vault:{name}}}' names no key; write ${{vault:path#key}}")
        async with self._lock:
            answer = await self._read(path, fresh)
        try:
            return answer.fields[key]
        except KeyError:
            known = ", ".join(sorted(answer.fields)) or "none"
            raise ConfigurationError(f"the path {path!r} in Vault has no key {key!r}; its keys are {known}") from None

    async def keep(self) -> None:
        """Renew the token and the leases in time. A failure is left to the next question, which says what is wrong."""
        while True:
            self._changed.clear()
            due = self._next_due()
            try:
                async with asyncio.timeout_at(due):
                    await self._changed.wait()
            except TimeoutError:
                async with self._lock:
                    await self._renew_what_is_due()
                due = self._next_due()
                if due is not None and due <= self._now():  # it failed
                    await asyncio.sleep(RETRY_PAUSE)

    async def close(self) -> None:
        """Give the token back, and what it has lent with it."""
        async with self._lock:
            if self._calls is not None:
                calls, self._calls = self._calls, None
                await asyncio.to_thread(calls.close)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _next_due(self) -> float | None:
        """When something must be renewed. None: nothing was lent, or for ever."""
        leases = [each.lease for each in self._held.values() if each.answer.lease_id]
        dues = [lease.due for lease in (*leases, self._token) if lease is not None and lease.seconds]
        return min(dues, default=None)

    async def _read(self, path: str, fresh: bool) -> Answer:
        held = self._held.get(path)
        if held is not None and not fresh:
            if self._now() < held.lease.due:
                return held.answer
            if held.answer.lease_id and await self._renewed(path, held):
                return held.answer
        answer = await self._ask(lambda calls: calls.read(path))
        has_lease = bool(answer.lease_id and answer.seconds)
        lease = Lease(self._now(), answer.seconds if has_lease else self._options.refresh / _OF_REFRESH)
        self._held[path] = _Held(answer, lease)
        self._changed.set()
        return answer

    async def _renewed(self, path: str, held: _Held) -> bool:
        """Renew the lease of a secret. False: it must be read anew."""
        if not held.answer.renewable or self._now() >= held.lease.end:
            return False
        try:
            answer = await self._ask(lambda calls: calls.renew(held.answer.lease_id))
        except (SecretUnavailable, ConfigurationError):
            return False
        lease = held.lease.renewed(self._now(), answer.seconds)
        if lease is None:
            return False
        held.lease = lease
        return True

    async def _renew_what_is_due(self) -> None:
        now = self._now()
        try:
            if self._token is not None and now >= self._token.due:
                await self._renew_token()
            for path, held in list(self._held.items()):
                if held.answer.lease_id and now >= held.lease.due:
                    await self._read(path, fresh=False)
        except (SecretUnavailable, ConfigurationError):
            return  # the next question meets it, and keeps the last good value

    async def _renew_token(self) -> None:
        calls, token = self._calls, self._token
        if calls is None or token is None:
            return
        if self._is_renewable and self._now() < token.end:
            try:
                answer = await asyncio.to_thread(calls.renew_token)
            except Denied:
                answer = None
            renewed = None if answer is None else token.renewed(self._now(), answer.seconds)
            if renewed is not None:
                self._token = renewed
                return
        await self._log_in()

    async def _ask(self, question: Callable[[VaultCalls], T]) -> T:
        """Ask with a token that holds; log in anew when it is refused, and ask once more."""
        logins = self.logins
        if self._calls is None or self._token is None or self._now() >= self._token.end:
            await self._log_in()
        elif self._now() >= self._token.due:
            await self._renew_token()
        assert self._calls is not None, "it has logged in"
        try:
            return await asyncio.to_thread(question, self._calls)
        except Denied:
            if self.logins > logins:
                raise
        return await asyncio.to_thread(question, await self._log_in())

    async def _log_in(self) -> VaultCalls:
        """A client with a new token. The options are read again: the secret of the AppRole may have changed."""
        options = await self._options_now()
        account = await asyncio.to_thread(read_file, options.service_account) if options.auth == "kubernetes" else ""
        calls = VaultCalls(options)
        answer = await asyncio.to_thread(calls.login, account)
        self.logins += 1
        earlier, self._calls, self._is_renewable = self._calls, calls, answer.renewable
        self._token = Lease(self._now(), answer.seconds)
        self._changed.set()
        # What was lent with the earlier token ends with it. That is not revoked: connections may still use it.
        self._held = {path: held for path, held in self._held.items() if not held.answer.lease_id}
        if earlier is not None:
            earlier.forget()
        return calls

    async def _options_now(self) -> VaultOptions:
        texts = {name: text for name in _TEXTS if (text := getattr(self._options, name))}
        options = msgspec.structs.replace(
            self._options, **{name: await _filled(name, text) for name, text in texts.items()}
        )
        options.check()
        return options


_OF_REFRESH = 2 / 3
"""A lease of `refresh / _OF_REFRESH` is due after `refresh`."""

_TEXTS = ("address", "namespace", "mount", "role_id", "secret_id", "role", "service_account", "ca")


async def _filled(name: str, text: str) -> str:
    """A text of the table with its references, which lead to files and variables only."""
    sources: dict[str, SecretSource] = {"file": FileSecrets(), "env": VariableSecrets()}
    found: list[str] = []
    for part in parse(text):
        if isinstance(part, Reference):
            source = sources.get(part.source)
            if source is None:
                raise ConfigurationError(f"the option vault.{name} may refer to ${{file:…}} and ${{env:…}} only")
            part = await source.read(part.name, fresh=True)
        found.append(part)
    return "".join(found)
