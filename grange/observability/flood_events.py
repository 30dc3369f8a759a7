"""The events of limits against floods, one declaration each, as in `catalogue.py`."""

from __future__ import annotations

from logging import WARNING

from grange.observability.events import Event


class ConnectionsRefused(Event, frozen=True):
    """A port has too many connections or handshakes, in all or from one address, so one was refused or ended."""

    NAME, LEVEL, LOGGER = "connections_refused", WARNING, "transport"
    SENTENCE = "the {port} port of silo {me} refuses connections, also from {address}: its limit of {reason} is reached"
    KEY = ("port", "reason")
    port: str
    reason: str
    address: str


class IdentityLimited(Event, frozen=True):
    """One client, by its identity or address, has too many connections or sends too much; others are not affected."""

    NAME, LEVEL, LOGGER = "identity_limited", WARNING, "transport"
    SENTENCE = "silo {me} refuses connections or requests of {identity}: its limit of {reason} is reached"
    KEY = ("identity", "reason")
    identity: str
    reason: str
