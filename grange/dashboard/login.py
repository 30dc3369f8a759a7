"""Logins and sessions: a token from the URL fragment, or a user with a password, becomes a cookie.

Sessions are in memory: a logout ends one for good, and so does the end of the process. Comparisons take the same time
for every input. Tries are limited before a password is hashed: for each account from one address, and for each address.
People behind one address translation share an address, so one who guesses locks the others out of few accounts only.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from grange.proto.acts import Level, level_of
from grange.proto.identity import USER, Identity

SESSION_SECONDS = 12 * 3600.0
"""A session ends after this time."""

TRIES_A_MINUTE = 5
"""Failed logins to one account, or by token, from one address within a minute; further ones are refused unread."""

TRIES_OF_AN_ADDRESS = 30
"""Failed logins from one address within a minute, to all accounts."""

MOST_SESSIONS = 1000
"""Sessions kept at most; a further login ends the oldest one."""

MOST_KEYS = 1000
"""Addresses, and accounts at addresses, whose failures are remembered. When there are more, all unknown ones share one
allowance."""

_COST: Final = (2**14, 8, 5)
"""n, r and p of scrypt: 16 MiB of memory and about 0.2 s."""

_SCHEME = "scrypt"


class Session(msgspec.Struct, frozen=True):
    """A login that holds: the identity of its user, and the loop time at which it ends."""

    identity: Identity
    ends: float

    @property
    def user(self) -> str:
        """The subject of the user, who is the actor of all acts."""
        return self.identity.subject

    @property
    def level(self) -> Level:
        """What the user may do."""
        return level_of(self.identity)


class TooManyTries(Exception):
    """An address, or an account from there, failed too often in a minute. `seconds`: until it may try again."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"too many failed logins; try again in {seconds:.0f} s")
        self.seconds = seconds


def hash_password(password: str) -> str:
    """The text for the option `users`: parameters, salt and scrypt hash."""
    salt = secrets.token_bytes(16)
    n, r, p = _COST
    return f"{_SCHEME}${n}:{r}:{p}${_text(salt)}${_text(_scrypt(password, salt, _COST))}"


def matches(password: str, hashed: str) -> bool:
    """Whether a password has this hash. Raises ValueError for a text that `hash_password` did not make."""
    scheme, cost, salt, expected = hashed.split("$")
    n, r, p = map(int, cost.split(":"))
    if scheme != _SCHEME or not (2**10 <= n <= 2**20 and 1 <= r <= 32 and 1 <= p <= 32):
        raise ValueError("not a hash that `grange dashboard passwd` prints")
    return hmac.compare_digest(_scrypt(password, _bytes(salt), (n, r, p)), _bytes(expected))


class Tries:
    """Counts failed logins by a key: at most `allowed` within a minute. Pure: the caller gives the time."""

    def __init__(self, allowed: int) -> None:
        self._allowed = allowed
        self._failed: OrderedDict[str, list[float]] = OrderedDict()

    def check(self, key: str, now: float) -> None:
        """Raises TooManyTries if the allowance of this key is used up."""
        recent = [time for time in self._failed.get(self._known(key), ()) if now - time < 60]
        if len(recent) >= self._allowed:
            raise TooManyTries(60 - (now - recent[0]))

    def failed(self, key: str, now: float) -> None:
        """Count a failure."""
        self._forget(now)
        known = self._known(key)
        self._failed[known] = [*self._failed.pop(known, ()), now][-self._allowed :]

    def _known(self, key: str) -> str:
        return key if key in self._failed or len(self._failed) < MOST_KEYS else ""

    def _forget(self, now: float) -> None:
        while self._failed and now - next(iter(self._failed.values()))[-1] >= 60:
            self._failed.popitem(last=False)


class Logins:
    """Checks logins and keeps the sessions. `identity_of` gives the identity of a token: None for an unknown one.

    `users` and `roles` are those of `DashboardOptions`.
    """

    def __init__(
        self, identity_of: Callable[[str], Identity | None], users: Mapping[str, str], roles: Mapping[str, str]
    ) -> None:
        self._identity_of = identity_of
        self._users = users
        self._roles = roles
        self._of_account = Tries(TRIES_A_MINUTE)
        self._of_address = Tries(TRIES_OF_AN_ADDRESS)
        self._hashing = asyncio.Semaphore(1)
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._decoy = hash_password(secrets.token_hex(16)) if users else ""

    async def by_token(self, token: str, address: str) -> str | None:
        """Log in by token: the value of the cookie, or None. Raises TooManyTries."""
        self._check(address, "")
        found = self._identity_of(token)
        if found is None or level_of(found) is Level.NONE:
            self._failed(address, "")
            return None
        return self._open(found)

    async def by_password(self, user: str, password: str, address: str) -> str | None:
        """Log in by user and password: the value of the cookie, or None. Raises TooManyTries."""
        async with self._hashing:  # one at a time: a hash takes 16 MiB and a processor
            self._check(address, user)
            hashed = self._users.get(user, self._decoy)  # an unknown user takes as long as a wrong password
            is_right = bool(hashed) and await asyncio.to_thread(matches, password, hashed)
        if not is_right or user not in self._users:
            self._failed(address, user)
            return None
        return self._open(Identity(USER + user, (self._roles.get(user, "viewer"),)))

    def session(self, cookie: str) -> Session | None:
        """The session of a cookie, if it holds."""
        session = self._sessions.get(_digest(cookie))
        if session is None or session.ends <= asyncio.get_running_loop().time():
            return None
        return session

    def end(self, cookie: str) -> None:
        """Log out."""
        self._sessions.pop(_digest(cookie), None)

    def _check(self, address: str, user: str) -> None:
        now = asyncio.get_running_loop().time()
        self._of_address.check(address, now)
        self._of_account.check(f"{address} {user:.200}", now)

    def _failed(self, address: str, user: str) -> None:
        now = asyncio.get_running_loop().time()
        self._of_address.failed(address, now)
        self._of_account.failed(f"{address} {user:.200}", now)

    def _open(self, identity: Identity) -> str:
        cookie = secrets.token_urlsafe(32)
        self._sessions[_digest(cookie)] = Session(identity, asyncio.get_running_loop().time() + SESSION_SECONDS)
        while len(self._sessions) > MOST_SESSIONS:
            self._sessions.popitem(last=False)
        return cookie


def _digest(cookie: str) -> str:
    """Sessions are found by digest, so that the time of the look-up tells nothing about a cookie."""
    return hashlib.sha256(cookie.encode()).hexdigest()


def _scrypt(password: str, salt: bytes, cost: tuple[int, int, int]) -> bytes:
    n, r, p = cost
    return hashlib.scrypt(password.encode(), salt=salt, n=n, r=r, p=p, maxmem=256 * n * r, dklen=32)


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
