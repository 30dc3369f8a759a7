"""The identity of a connection: from its certificate, its token, and the option `roles`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from grange import ConfigurationError, Grain, HandshakeRefused, Identity
from grange.observability.events import Events
from grange.proto.acts import Act, Action, Asker, Level, level_of
from grange.proto.handshake import Hello, Role
from grange.proto.identity import decode_identity
from grange.security.certificate import Certificate
from grange.silo.acts import actor_of, identity_of
from grange.silo.identities import Identities, IdentityRules, Tokens
from grange.silo.silo import Silo
from grange.testing.cluster import KeywordConfig
from tests.silo.peers import asker_of, client

WEB, ROOT = "spiffe://shop/client/web", "spiffe://shop/admin/root"
TOKENS = Tokens(admin="the-token-of-admins", viewer="the-token-of-viewers")
ANN = Identity("user:ann", ("customer",), "acme")


class Cart(Grain):
    async def touch(self) -> None: ...


def identities(**rules: Any) -> Identities:
    given = {"carried": True, "authenticate": {"ann-1": ANN}.get, **rules}
    return Identities(TOKENS, Events(), IdentityRules(**given))


def shown(uri: str) -> Certificate | None:
    return Certificate(uri=uri) if uri else None


@pytest.mark.parametrize(
    ("token", "uri", "expected", "level"),
    [
        ("", "", None, Level.NONE),
        ("", WEB, Identity(WEB, ("shop",)), Level.NONE),
        ("", ROOT, Identity(ROOT, ("admin",)), Level.ADMIN),
        (TOKENS.viewer, "", Identity("token:viewer", ("viewer",)), Level.VIEWER),
        (TOKENS.viewer, WEB, Identity(WEB, ("shop", "viewer")), Level.VIEWER),
        (TOKENS.viewer, ROOT, Identity(ROOT, ("admin", "viewer")), Level.ADMIN),
        ("ann-1", "", Identity("user:ann", ("customer", "operator"), "acme"), Level.OPERATOR),
        ("ann-1", WEB, Identity("user:ann", ("customer", "operator"), "acme", WEB), Level.OPERATOR),
        ("ann-1", ROOT, Identity("user:ann", ("customer", "operator"), "acme", ROOT), Level.OPERATOR),
    ],
)
async def test_certificate_and_token_give_one_identity(
    token: str, uri: str, expected: Identity | None, level: Level
) -> None:
    """S3: a token of a user names the user, also beside a certificate, which is then the one that speaks."""
    made = identities(roles={WEB: ("shop",), "user:ann": ("operator",)})
    asker = await asker_of(made, client(token), shown(uri))
    assert (asker.identity, asker.level) == (expected, level)
    assert decode_identity(asker.principal) == expected


async def test_nothing_is_carried_where_no_identities_are() -> None:
    """A management token has its level all the same."""
    asker = await asker_of(Identities(TOKENS, Events()), client(TOKENS.admin))
    assert (asker.level, asker.principal) == (Level.ADMIN, b"")
    assert asker.identity == Identity("token:admin", ("admin",))


async def test_a_silo_is_an_admin_and_names_the_identity_of_each_request() -> None:
    asker = await asker_of(identities(), Hello("shop", Role.SILO, "s"), shown("spiffe://shop/silo"))
    assert (asker.level, asker.is_silo, asker.principal) == (Level.ADMIN, True, b"")
    assert asker.identity == Identity("spiffe://shop/silo")


@pytest.mark.parametrize("uri", ["", WEB])
async def test_an_unknown_token_is_refused_if_users_have_tokens(uri: str, caplog: pytest.LogCaptureFixture) -> None:
    """S3: it does not fall back to the certificate, because its holder means to be another."""
    with pytest.raises(HandshakeRefused) as caught:
        await asker_of(identities(), client("a-guess-of-a-token"), shown(uri))
    assert caught.value.code == "unauthenticated"
    assert "sent a token that this silo does not know: it is refused" in caplog.text
    assert "a-guess" not in caplog.text + str(caught.value)
    asker = await asker_of(identities(authenticate=None), client("a-guess-of-a-token"), shown(uri))
    assert asker.identity == (Identity(uri) if uri else None)


def fails(token: str) -> Identity | None:
    raise ValueError(f"{token} is broken")


@pytest.mark.parametrize(
    "authenticate",
    [
        fails,
        lambda _: Identity("silo"),
        lambda _: Identity("grain:cart"),
        lambda _: Identity("token:admin", ("admin",)),
        lambda _: Identity(WEB),
        lambda _: Identity(""),
        lambda _: Identity("user:ann", ("x" * 5000,)),
        lambda _: "user:ann",
    ],
)
async def test_an_authenticate_that_fails_refuses_and_shows_no_token(
    authenticate: Callable[[str], Identity | None], caplog: pytest.LogCaptureFixture
) -> None:
    """S3: neither the error nor its traceback is logged, and names of the runtime are given to no user."""
    with pytest.raises(HandshakeRefused, match="unknown or no longer valid"):
        await asker_of(identities(authenticate=authenticate), client("the-secret-of-ann"))
    assert "authenticate= failed on silo" in caplog.text
    assert "the-secret" not in caplog.text


async def test_roles_of_the_options_leave_room_for_those_who_speak() -> None:
    """A user whose identity would be too large with them is refused, and not each call that a grain makes for it."""
    roles = {"user:ann": tuple(f"role-{number}" for number in range(430))}
    with pytest.raises(HandshakeRefused, match="unknown or no longer valid"):
        await asker_of(identities(roles=roles), client("ann-1"))


async def test_a_via_of_authenticate_does_not_count() -> None:
    """Only the runtime says who speaks."""
    asker = await asker_of(identities(authenticate=lambda _: Identity("user:ann", via="grain:bank")), client("t"))
    assert asker.identity == Identity("user:ann")


async def test_a_management_token_is_not_given_to_authenticate() -> None:
    assert (await asker_of(identities(authenticate=fails), client(TOKENS.admin))).level is Level.ADMIN


@pytest.mark.parametrize("given", ["f", Identity, 5])
def test_authenticate_is_a_plain_function(given: Any) -> None:
    async def waits(token: str) -> Identity | None:
        return None

    for each in (given, waits):
        with pytest.raises(ConfigurationError, match="authenticate= is a plain function of a token"):
            Silo([Cart], authenticate=each)


@pytest.mark.parametrize(
    ("roles", "problem"),
    [
        ({"": ("a",)}, "gets no roles"),
        ({"silo": ("a",)}, "gets no roles"),
        ({"grain:cart": ("a",)}, "gets no roles"),
        ({"token:admin": ("a",)}, "gets no roles"),
        ({WEB: ("two words",)}, "is no role"),
        ({WEB: ("",)}, "is no role"),
        ({WEB: ("x" * 65,)}, "is no role"),
    ],
)
def test_roles_that_have_no_effect_are_errors(roles: dict[str, tuple[str, ...]], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        KeywordConfig(roles=roles)


@pytest.mark.parametrize(
    ("roles", "level"),
    [
        ((), Level.NONE),
        (("customer",), Level.NONE),
        (("viewer",), Level.VIEWER),
        (("customer", "operator", "viewer"), Level.OPERATOR),
        (("admin", "viewer"), Level.ADMIN),
        (("Admin", "none", "ADMIN"), Level.NONE),
    ],
)
def test_the_level_is_that_of_the_highest_role(roles: tuple[str, ...], level: Level) -> None:
    assert level_of(Identity("x", roles)) is level


@pytest.mark.parametrize(
    ("identity", "is_silo", "level", "named", "actor", "subject"),
    [
        (Identity(ROOT, ("admin",)), False, Level.ADMIN, "", ROOT, ROOT),
        (Identity(ROOT, ("admin",)), False, Level.ADMIN, "user:eve", f"user:eve by {ROOT}", "user:eve"),
        (Identity(ROOT, ("admin",)), False, Level.ADMIN, "grain:cart", f"grain:cart by {ROOT}", ROOT),
        (Identity("user:ann", ("operator",)), False, Level.OPERATOR, "user:eve",
         "user:ann (claims to act for user:eve)", "user:ann"),
        (Identity("token:operator", ("operator",)), False, Level.OPERATOR, "", "cli by token:operator",
         "token:operator"),
        (Identity("spiffe://shop/silo"), True, Level.ADMIN, "user:eve", "user:eve", "user:eve"),
        (None, True, Level.ADMIN, "", "cli", "silo"),
    ],
)  # fmt: skip
def test_an_audit_names_the_subject(
    identity: Identity | None, is_silo: bool, level: Level, named: str, actor: str, subject: str
) -> None:
    """S10: the connection's own, beside the person that it names; a call that an act makes is that person's."""
    act, asker = Act(Action.CALL, "cart/a", actor=named), Asker("cli", level, is_silo, identity)
    assert actor_of(act, asker) == actor
    made = identity_of(act, asker, level)
    assert made.subject == subject
    assert made.via == ("" if subject == (identity or Identity("silo")).subject else "silo" if is_silo else ROOT)
