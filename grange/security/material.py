"""The files of TLS of one process: certificate, key, authorities and revocations, read again while it runs.

`Material.open` reads and checks them at the start. `run` looks at them again and again: a new pair is used only if it
can be used, else the last good one stays. The transports take `current` for each handshake, and `on_change` tells them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Protocol

import msgspec

from grange.clock import utc_now
from grange.errors import ConfigurationError
from grange.security.options import TlsOptions
from grange.security.pair import LARGEST_PEM, Described, PemFiles, check_pair
from grange.security.revocations import parse_revocations
from grange.security.rotation import Content, ContentWatch, ExpiryWatch
from grange.text_files import LARGEST_FILE, bytes_of

SETTLE = 1.0
"""Seconds between two looks at files that change."""

OF_SILO = ("silo",)
OF_CLIENT = ("client", "admin")
"""The roles that a certificate may have: that of a silo, or those of a client and of the command line."""


class KeyPair(msgspec.Struct, frozen=True):
    """A certificate that can be used, with its key and the authorities to trust, all PEM.

    `facts` is our certificate, `chain` is the same with those above it, up to the authority in `ca` that signed it.
    `number` rises by one with each pair.
    """

    certificate: bytes
    key: bytes
    ca: bytes
    chain: tuple[Described, ...]
    number: int = 1

    @property
    def facts(self) -> Described:
        """Our own certificate."""
        return self.chain[0]

    def __repr__(self) -> str:
        return f"KeyPair({self.facts.uri!r}, {self.facts.fingerprint!r}, {self.number})"  # the key is a secret


class MaterialReports(Protocol):
    """Told of what happens to the files. Called in the event loop; must neither block nor raise."""

    def taken(self, pair: KeyPair) -> None:
        """A new pair is used from now on."""
        ...

    def refused(self, problem: str, kept: KeyPair) -> None:
        """The files hold a pair that cannot be used, told once for each content; `kept` stays in use."""
        ...

    def expires(self, certificate: Described, seconds: float) -> None:
        """Our certificate, or one above it, ends in so many seconds; it has ended if they are not above 0."""
        ...

    def revoked(self, added: int, removed: int, total: int) -> None:
        """The list of revoked certificates has changed."""
        ...

    def revocations_refused(self, problem: str) -> None:
        """The list of revoked certificates cannot be read, told once for each content; the last one stays in use."""
        ...


class _Files(msgspec.Struct, frozen=True):
    """What the files held at one moment; a text is the reason why they could not be read."""

    pair: PemFiles | str
    revoked: bytes | str

    @property
    def pair_digest(self) -> str:
        if isinstance(self.pair, str):
            return self.pair
        return _digest(self.pair.certificate, self.pair.key, self.pair.ca)

    @property
    def revoked_digest(self) -> str:
        return self.revoked if isinstance(self.revoked, str) else _digest(self.revoked)


class Material:
    """The pair and the revocations that this process uses. Made by `open`; `run` keeps them up to date.

    `taken` and `refusals` count the new pairs that were used and those that were refused.
    """

    def __init__(
        self,
        options: TlsOptions,
        identity: tuple[str, Collection[str]],
        reports: MaterialReports,
        now: Callable[[], datetime],
        files: _Files,
    ) -> None:
        self._options = options
        self._identity = identity
        self._reports = reports
        self._now = now
        self.revocations = _revocations_of(files.revoked, options.revoked)
        self.current = self._checked(files, 1)
        self.taken = 0
        self.refusals = 0
        self._pair_watch = ContentWatch(files.pair_digest)
        self._revoked_watch = ContentWatch(files.revoked_digest)
        self._expiry = ExpiryWatch()
        self._on_change: dict[object, Callable[[KeyPair], None]] = {}
        self._on_revoked: dict[object, Callable[[], None]] = {}

    @classmethod
    async def open(
        cls,
        options: TlsOptions,
        cluster: str,
        roles: Collection[str],
        reports: MaterialReports,
        now: Callable[[], datetime] = utc_now,
    ) -> Material:
        """Read and check the files. `roles`: `OF_SILO` or `OF_CLIENT`; `now` is the wall clock.

        Raises ConfigurationError that names the file and the remedy.
        """

        def opened() -> Material:
            return cls(options, (cluster, roles), reports, now, _read(options))

        return await asyncio.to_thread(opened)

    def is_revoked(self, fingerprint: str) -> bool:
        """Whether the certificate with this fingerprint (`Certificate.fingerprint`) is in the list of revoked ones."""
        return fingerprint in self.revocations

    def on_change(self, callback: Callable[[KeyPair], None]) -> Callable[[], None]:
        """Have `callback` called with each new pair. Returns the function that ends this; idempotent.

        It is called in the event loop when `current` is the new pair, and must neither block nor raise.
        """
        key = object()
        self._on_change[key] = callback
        return lambda: _forget(self._on_change, key)

    def on_revoked(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Have `callback` called when the list of revoked certificates has changed; else as `on_change`."""
        key = object()
        self._on_revoked[key] = callback
        return lambda: _forget(self._on_revoked, key)

    async def run(self) -> None:
        """Look at the files every `check_every` seconds, until this is cancelled. The owner awaits it."""
        pause = self._options.check_every
        while True:
            self._report_expiry()
            await asyncio.sleep(pause)
            is_unsettled = await self.look()
            pause = min(SETTLE, self._options.check_every) if is_unsettled else self._options.check_every

    async def look(self) -> bool:
        """Read the files once and use what is new and good. Whether they have to be looked at once more, soon."""
        files = await asyncio.to_thread(_read, self._options)
        revocations = self._revoked_watch.seen(files.revoked_digest)
        if revocations is Content.NEW:
            self._take_revocations(files)
        pair = self._pair_watch.seen(files.pair_digest)
        if pair is Content.NEW:
            await self._take_pair(files)
        return Content.UNSETTLED in (pair, revocations)

    async def _take_pair(self, files: _Files) -> None:
        try:
            pair = await asyncio.to_thread(self._checked, files, self.current.number + 1)
        except Exception as error:  # also one that was not foreseen: the last good pair stays, and this task lives on
            if self._pair_watch.refuse(files.pair_digest):
                self.refusals += 1
                is_foreseen = isinstance(error, ConfigurationError)
                problem = str(error) if is_foreseen else f"the pair cannot be checked: {type(error).__name__}"
                self._reports.refused(problem, self.current)
            return
        self._pair_watch.use(files.pair_digest)
        self.current = pair
        self.taken += 1
        self._reports.taken(pair)
        for each in list(self._on_change.values()):
            each(pair)

    def _take_revocations(self, files: _Files) -> None:
        try:
            new = _revocations_of(files.revoked, self._options.revoked)
        except ConfigurationError as error:
            if self._revoked_watch.refuse(files.revoked_digest):
                self._reports.revocations_refused(str(error))
            return
        self._revoked_watch.use(files.revoked_digest)
        before, self.revocations = self.revocations, new
        if new != before:
            self._reports.revoked(len(new - before), len(before - new), len(new))
            for each in list(self._on_revoked.values()):
                each()

    def _checked(self, files: _Files, number: int) -> KeyPair:
        now = self._now().timestamp()
        return _pair_of(files.pair, self._options.revoked, self._identity, (self.revocations, now), number)

    def _report_expiry(self) -> None:
        now = self._now().timestamp()
        for each in self._expiry.due(self.current.chain, now):
            self._reports.expires(each, each.not_after - now)


def read_pair(
    options: TlsOptions, identity: tuple[str, Collection[str]], revocations: Collection[str], now: float
) -> KeyPair:
    """The pair in the files, checked as at a start. `identity`: cluster and roles.

    Blocks. Raises ConfigurationError.
    """
    return _pair_of(_read_pair(options), options.revoked, identity, (revocations, now))


def read_revocations(options: TlsOptions) -> frozenset[str]:
    """The fingerprints in the file `revoked`; none without one. Blocks; raises ConfigurationError."""
    return _revocations_of(_read_revoked(options), options.revoked)


def _pair_of(
    files: PemFiles | str,
    revoked_name: str,
    identity: tuple[str, Collection[str]],
    given: tuple[Collection[str], float],
    number: int = 1,
) -> KeyPair:
    """The pair of these contents. `given`: the revoked certificates, and the time."""
    if isinstance(files, str):
        raise ConfigurationError(files)
    revocations, now = given
    chain = check_pair(files, *identity, now)
    for each in chain:
        if each.fingerprint in revocations:
            raise ConfigurationError(
                f"{files.certificate_name} is revoked: {revoked_name} has {each.fingerprint}, which is "
                f"{each.uri or each.subject}; issue another one"
            )
    return KeyPair(files.certificate, files.key, files.ca, chain, number)


def _revocations_of(content: bytes | str, name: str) -> frozenset[str]:
    if isinstance(content, str):
        raise ConfigurationError(content)
    return parse_revocations(content, name)


def _read(options: TlsOptions) -> _Files:
    """Read all files, in a thread."""
    return _Files(_read_pair(options), _read_revoked(options))


def _read_revoked(options: TlsOptions) -> bytes | str:
    return _content(options.revoked, LARGEST_FILE) if options.revoked else b""


def _read_pair(options: TlsOptions) -> PemFiles | str:
    certificate, key, ca = (_content(name, LARGEST_PEM) for name in (options.certificate, options.key, options.ca))
    if isinstance(certificate, str):
        return certificate
    if isinstance(key, str):
        return key
    return ca if isinstance(ca, str) else PemFiles(certificate, key, ca, options.certificate, options.key, options.ca)


def _content(name: str, largest: int) -> bytes | str:
    try:
        return bytes_of(Path(name), largest)
    except FileNotFoundError:
        return f"{name} is not there; give the path of the file, and mount or write it before the start"
    except PermissionError:
        return f"{name} cannot be read by the user of this process; change its owner or its mode"
    except (OSError, ValueError) as error:
        return f"{name} cannot be read: {error.strerror if isinstance(error, OSError) else error}"


def _digest(*contents: bytes) -> str:
    whole = sha256()
    for each in contents:
        whole.update(len(each).to_bytes(8, "big"))
        whole.update(each)
    return whole.hexdigest()


def _forget(callbacks: dict[object, Callable[[KeyPair], None]] | dict[object, Callable[[], None]], key: object) -> None:
    callbacks.pop(key, None)
