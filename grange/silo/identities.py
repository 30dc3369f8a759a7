"""The identities of connections: from the certificate of the peer, and from the token in its Hello.

- A certificate authenticates the process: its subject is the name in its URI SAN. Its roles are those that the option
  `roles` gives to the subject, and `admin` for a certificate of an admin.
- A management token gives one role. Without a certificate its subject is `token:admin`, with one it adds to its roles.
- Any other token is given to `authenticate=`. The identity that it returns is that of the connection, by way of the
  certificate if there is one. If it returns none, the handshake is refused.

`Level` in management follows from the roles (`proto/acts.py`). See ADR 0100.
"""

from __future__ import annotations

import hmac
import inspect
import logging
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from typing import cast

import msgspec

from grange.admin_token import FILE, make_admin_token
from grange.errors import ConfigurationError, ConnectionLost, HandshakeRefused
from grange.observability.application_events import AuthenticateFailed
from grange.observability.catalogue import UnknownToken
from grange.observability.events import Events
from grange.proto.acts import Asker, Level, level_of, of_level
from grange.proto.handshake import Hello, Role
from grange.proto.identity import Identity, check_user, encode_identity, parse_spiffe
from grange.security.certificate import Certificate
from grange.silo.config import SiloConfig
from grange.transport.provider import Connection

log = logging.getLogger("grange.silo")

Authenticate = Callable[[str], Identity | None]
"""`Silo(authenticate=)`: the identity of a token, or None for one that it does not know. It must not block or wait, and
depend on nothing but the token and the time: the event loop and the thread of the admin port call it."""

MOST_ADMITTED = 1024
"""Connections between their handshake and their first message whose identity is kept."""


class Tokens(msgspec.Struct, frozen=True, kw_only=True):
    """The tokens that this silo knows; an empty one matches no client. They are secrets, so `repr` hides them."""

    admin: str = ""
    operator: str = ""
    viewer: str = ""

    def __repr__(self) -> str:
        return "Tokens(***)"

    def __bool__(self) -> bool:
        return bool(self.admin or self.operator or self.viewer)


class IdentityRules(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """What a silo says of identities. `carried`: whether calls carry them.

    `roles` by subject. `speakers`: the certificates whose clients may name the identity of each call.
    """

    carried: bool = False
    roles: Mapping[str, tuple[str, ...]] = msgspec.field(default_factory=dict[str, tuple[str, ...]])
    speakers: Collection[str] = ()
    authenticate: Authenticate | None = None


NO_RULES = IdentityRules()


class Identities:
    """Tells the identity of each connection of one silo."""

    def __init__(self, tokens: Tokens, events: Events, rules: IdentityRules = NO_RULES) -> None:
        self._events = events
        self._rules = rules
        self.replace(tokens)
        self._admitted: OrderedDict[int, tuple[Hello, Asker]] = OrderedDict()

    def replace(self, tokens: Tokens) -> None:
        """Know these tokens from now on. Connections keep the identity that they have."""
        levels = ((tokens.admin, Level.ADMIN), (tokens.operator, Level.OPERATOR), (tokens.viewer, Level.VIEWER))
        self._tokens = [(token.encode(), level) for token, level in levels if token]

    def admit(self, hello: Hello, certificate: Certificate | None) -> None:
        """Keep the identity of a new connection. Raises HandshakeRefused for an unknown token.

        `GatedListener` has checked the certificate.
        """
        self._admitted[id(hello)] = hello, self._asker(hello, certificate)
        if len(self._admitted) > MOST_ADMITTED:
            self._admitted.popitem(last=False)

    def asker_of(self, connection: Connection) -> Asker:
        """The peer of an accepted connection. One whose token has just expired is ended."""
        hello = connection.hello
        admitted = self._admitted.pop(id(hello), None)
        if admitted is not None:
            return admitted[1]
        try:
            return self._asker(hello, connection.certificate)
        except HandshakeRefused as error:
            connection.kill(ConnectionLost(str(error)))
            return Asker(hello.name, Level.NONE)

    def of_token(self, token: str) -> Identity | None:
        """The identity that a token alone gives; None if this silo does not know it. Any thread may ask."""
        level = self._level_of(token)
        return of_level(level) if level else self._authenticated(token)

    def known(self, identity: Identity) -> Identity:
        """An identity with the roles that this silo gives to its subject, as if it were that of a connection."""
        try:
            own = ("admin",) if parse_spiffe(identity.subject).role == "admin" else ()
        except ValueError:  # a user
            own = ()
        return self._with_roles(identity, own)

    def of_certificate(self, certificate: Certificate) -> Identity:
        """The identity that a certificate alone gives. Any thread may ask."""
        subject = certificate.uri
        own = ("admin",) if parse_spiffe(subject).role == "admin" else ()
        return self._with_roles(Identity(subject), own)

    def _asker(self, hello: Hello, certificate: Certificate | None) -> Asker:
        """The peer; each port admits one kind of it."""
        process = None if certificate is None else self.of_certificate(certificate)
        if hello.role is Role.SILO:
            return Asker(hello.name, Level.ADMIN, is_silo=True, identity=process)
        identity = self._of_client(hello, process) if hello.token else process
        carried = identity is not None and (self._rules.carried or process is not None)
        principal = encode_identity(identity) if identity is not None and carried else b""
        speaker = process.subject if process is not None and process.subject in self._rules.speakers else ""
        return Asker(hello.name, level_of(identity), identity=identity, principal=principal, speaker=speaker)

    def _of_client(self, hello: Hello, process: Identity | None) -> Identity | None:
        """The identity of a client with a token; `process` is that of its certificate."""
        if level := self._level_of(hello.token):
            return of_level(level) if process is None else self._with_roles(process, of_level(level).roles)
        identity = self._authenticated(hello.token)
        if identity is not None:
            return identity if process is None else msgspec.structs.replace(identity, via=process.subject)
        refused = self._rules.authenticate is not None
        self._events.publish(UnknownToken(hello.name, "it is refused" if refused else "it has no role in management"))
        if refused:
            raise HandshakeRefused("the token of this client is unknown or no longer valid", code="unauthenticated")
        return process

    def _authenticated(self, token: str) -> Identity | None:
        """What `authenticate=` says of a token; None if it fails, which is logged without the token."""
        if self._rules.authenticate is None:
            return None
        try:
            found = self._rules.authenticate(token)
            if found is None:
                return None
            if not isinstance(cast("object", found), Identity):
                raise TypeError(f"authenticate= returned a {type(found).__name__}, neither an Identity nor None")
            named = check_user(self._with_roles(msgspec.structs.replace(found, via=""), ()))
        except Exception as error:
            # Neither its text nor its traceback: both may show the token.
            self._events.publish(AuthenticateFailed(type(error).__qualname__))
            return None
        else:
            return named

    def _with_roles(self, identity: Identity, more: tuple[str, ...]) -> Identity:
        """The identity with further roles: these, and those of the option."""
        roles = dict.fromkeys((*identity.roles, *self._rules.roles.get(identity.subject, ()), *more))
        return msgspec.structs.replace(identity, roles=tuple(roles))

    def _level_of(self, token: str) -> Level:
        """The level of a management token; NONE for any other text."""
        given = token.encode()
        # Each is compared, so that the time tells nothing about the tokens.
        return max((level for known, level in self._tokens if hmac.compare_digest(known, given)), default=Level.NONE)


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


def as_authenticate(given: Authenticate | None) -> Authenticate | None:
    """The argument `authenticate=` of `Silo`. Raises ConfigurationError for anything but a plain function."""
    if given is None:
        return None
    called = given if inspect.isroutine(given) else getattr(given, "__call__", None)  # noqa: B004
    if isinstance(given, type) or not callable(cast("object", given)) or inspect.iscoroutinefunction(called):
        raise ConfigurationError(
            f"authenticate= is a plain function of a token, which returns an Identity or None, not {given!r:.100}"
        )
    return given
