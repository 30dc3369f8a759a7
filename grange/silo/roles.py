"""The roles of connections in management: a silo is an admin, and a client has the role of the token in its Hello."""

from __future__ import annotations

import hmac
import logging

import msgspec

from grange.admin_token import FILE, make_admin_token
from grange.observability.catalogue import UnknownToken
from grange.observability.events import Events
from grange.proto.acts import Asker, Level
from grange.proto.handshake import Hello, Role
from grange.silo.certificate_level import level_of_certificate
from grange.silo.config import SiloConfig
from grange.transport.provider import Connection

log = logging.getLogger("grange.silo")


class Tokens(msgspec.Struct, frozen=True, kw_only=True):
    """The tokens that this silo knows; an empty one matches no client. They are secrets, so `repr` hides them."""

    admin: str = ""
    operator: str = ""
    viewer: str = ""

    def __repr__(self) -> str:
        return "Tokens(***)"

    def __bool__(self) -> bool:
        return bool(self.admin or self.operator or self.viewer)


class Roles:
    """Tells the level of each connection of one silo."""

    def __init__(self, tokens: Tokens, events: Events) -> None:
        self._levels = [
            (token.encode(), level)
            for token, level in (
                (tokens.admin, Level.ADMIN),
                (tokens.operator, Level.OPERATOR),
                (tokens.viewer, Level.VIEWER),
            )
            if token
        ]
        self._events = events

    def asker_of(self, connection: Connection) -> Asker:
        """The peer of an accepted connection, by its Hello."""
        hello = connection.hello
        level = max(self.level_of(hello), level_of_certificate(connection.certificate))
        return Asker(hello.name, level, hello.role is Role.SILO)

    def level_of(self, hello: Hello) -> Level:
        """The level of a connection on the gateway or the silo port; each port admits one kind of peer."""
        if hello.role is Role.SILO:
            return Level.ADMIN
        if not hello.token:
            return Level.NONE
        level = self.level_of_token(hello.token)
        if level is Level.NONE:
            self._events.publish(UnknownToken(hello.name))
        return level

    def level_of_token(self, token: str) -> Level:
        """The level that a token gives; NONE if this silo does not know it. Any thread may ask."""
        given = token.encode()
        # Each is compared, so that the time tells nothing about the tokens.
        return max((level for known, level in self._levels if hmac.compare_digest(known, given)), default=Level.NONE)


def configured_tokens(config: SiloConfig) -> Tokens:
    """The tokens that the options give."""
    return Tokens(admin=config.admin_token, operator=config.operator_token, viewer=config.viewer_token)


def tokens_of(config: SiloConfig) -> Tokens:
    """The tokens of the options; without any, the admin token of the data folder, made if there is none.

    Raises ConfigurationError for a file in that folder that is not safe to trust.
    """
    if tokens := configured_tokens(config):
        return tokens
    with config.naming("data"):
        try:
            return Tokens(admin=make_admin_token(config.data))
        except OSError as error:
            log.warning(
                "the file %r in the folder %r cannot be made (%s), so no client has a role in management: "
                "set the option admin_token to change that", FILE, str(config.data), error.strerror,
                extra={"event": "no_admin_token"},
            )  # fmt: skip
            return Tokens()
