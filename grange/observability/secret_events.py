"""The events about secrets, one declaration each; see `catalogue.py`. None of them shows a value."""

from __future__ import annotations

from logging import ERROR, INFO, WARNING

from grange.observability.events import Event


class SecretUnread(Event, frozen=True):
    """A secret cannot be read. Its last good value is used, until that is too old."""

    NAME, LEVEL, LOGGER = "secret_unread", WARNING, "security"
    SENTENCE = "the secret {secret} cannot be read; its value of {age:.0f} s ago is used: {reason}"
    KEY = ("secret",)
    secret: str
    age: float
    reason: str


class SecretStale(Event, frozen=True):
    """A secret could not be read for so long that its last good value is used no more: new connections fail."""

    NAME, LEVEL, LOGGER = "secret_stale", ERROR, "security"
    SENTENCE = "the secret {secret} was not read for {age:.0f} s, so new connections that need it fail: {reason}"
    KEY = ("secret",)
    secret: str
    age: float
    reason: str


class SecretBack(Event, frozen=True):
    """A secret that could not be read was read again."""

    NAME, LEVEL, LOGGER = "secret_back", INFO, "security"
    SENTENCE = "the secret {secret} was read again after {age:.0f} s"
    KEY = ("secret",)
    secret: str
    age: float


class SecretRefused(Event, frozen=True):
    """A store refuses the login, also with the secrets as they are now. The silo tries again after a pause."""

    NAME, LEVEL, LOGGER = "secret_refused", ERROR, "security"
    SENTENCE = "{store} refuses the login, also after its secrets were read again: {reason}"
    KEY = ("store",)
    store: str
    reason: str
