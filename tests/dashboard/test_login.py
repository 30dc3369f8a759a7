"""Logins: tokens, users, tries, sessions (S10)."""

from __future__ import annotations

import pytest

from grange import Grain
from grange.dashboard import login
from grange.dashboard.login import (
    SESSION_SECONDS,
    TRIES_A_MINUTE,
    TRIES_OF_AN_ADDRESS,
    Logins,
    TooManyTries,
    Tries,
    hash_password,
    matches,
)
from grange.proto.acts import Level
from grange.testing.cluster import TestCluster
from grange.testing.loop import VirtualTime, clock_of_loop
from tests.dashboard.browser import HOST, Browser
from tests.dashboard.shown import TOKENS, dashboard_of, identity_of, logged_in


class Cart(Grain):
    async def touch(self) -> None: ...


@pytest.mark.parametrize("level", [Level.VIEWER, Level.OPERATOR, Level.ADMIN])
async def test_a_token_opens_the_dashboard_with_its_level(level: Level) -> None:
    async with TestCluster([Cart], silos=1) as cluster, dashboard_of(cluster) as dashboard:
        browser = Browser(dashboard.app)
        assert (await browser.get("/api/me")).status == 401
        reply = await browser.post("/api/login", {"token": TOKENS[level]})
        assert reply.status == 204
        cookie = reply.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert "max-age=43200" in cookie
        assert "secure" not in cookie
        by_tls = await browser.post("/api/login", {"token": TOKENS[level]}, {"origin": f"https://{HOST}"})
        assert "; secure" in by_tls.headers["set-cookie"].lower()
        me = (await browser.get("/api/me")).json
        assert me["role"] == level.name.lower()
        assert me["cluster"] == "default"


async def test_a_user_logs_in_by_password_with_the_role_of_the_options() -> None:
    users = {"ann": hash_password("correct"), "bob": hash_password("horse")}
    options = {"users": users, "roles": {"ann": "operator"}}
    async with TestCluster([Cart], silos=1) as cluster, dashboard_of(cluster, **options) as dashboard:
        browser = Browser(dashboard.app)
        for wrong in ({"user": "ann", "password": "horse"}, {"user": "eve", "password": "correct"}, {}):
            assert (await browser.post("/api/login", wrong)).status == 401
        assert (await browser.post("/api/login", {"user": "ann", "password": "correct"})).status == 204
        assert (await browser.get("/api/me")).json["role"] == "operator"
        assert (await browser.post("/api/login", {"user": "bob", "password": "horse"})).status == 204
        me = (await browser.get("/api/me")).json
        assert (me["user"], me["role"], me["actions"]) == ("user:bob", "viewer", [])


async def test_tries_are_limited_for_each_address_also_for_the_right_token() -> None:
    async with TestCluster([Cart], silos=1) as cluster, dashboard_of(cluster) as dashboard:
        attacker, other = Browser(dashboard.app, "10.0.0.1"), Browser(dashboard.app, "10.0.0.2")
        for _ in range(TRIES_A_MINUTE):
            assert (await attacker.post("/api/login", {"token": "guess"})).status == 401
        refused = await attacker.post("/api/login", {"token": TOKENS[Level.ADMIN]})
        assert refused.status == 429
        assert 0 < int(refused.headers["retry-after"]) <= 61
        assert (await other.post("/api/login", {"token": TOKENS[Level.ADMIN]})).status == 204
        await cluster.advance(61)
        assert (await attacker.post("/api/login", {"token": TOKENS[Level.ADMIN]})).status == 204


async def test_one_who_guesses_does_not_lock_out_others_of_the_same_address(
    time: VirtualTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind an address translation. An address has an allowance, too: names of accounts may be made up."""
    monkeypatch.setattr(login, "matches", lambda password, _: password == "right")
    logins = Logins(identity_of, {"ann": "hash", "bob": "hash"}, {})
    for _ in range(TRIES_A_MINUTE):
        assert await logins.by_password("ann", "wrong", "10.0.0.1") is None
    with pytest.raises(TooManyTries):
        await logins.by_password("ann", "right", "10.0.0.1")
    assert await logins.by_password("ann", "right", "10.0.0.2") is not None
    assert await logins.by_password("bob", "right", "10.0.0.1") is not None
    assert await logins.by_token(TOKENS[Level.VIEWER], "10.0.0.1") is not None
    for number in range(TRIES_OF_AN_ADDRESS - TRIES_A_MINUTE):
        assert await logins.by_password(f"made-up-{number}", "wrong", "10.0.0.1") is None
    with pytest.raises(TooManyTries):
        await logins.by_password("bob", "right", "10.0.0.1")
    with pytest.raises(TooManyTries):
        await logins.by_token(TOKENS[Level.VIEWER], "10.0.0.1")


def test_many_addresses_share_one_allowance_once_the_table_is_full() -> None:
    tries = Tries(TRIES_A_MINUTE)
    for number in range(1000):
        tries.failed(f"10.0.{number // 256}.{number % 256}", 0.0)
    for number in range(TRIES_A_MINUTE):
        tries.check(f"10.1.0.{number}", 1.0)
        tries.failed(f"10.1.0.{number}", 1.0)
    with pytest.raises(TooManyTries):
        tries.check("10.1.0.99", 2.0)
    tries.check("10.0.0.1", 2.0)
    tries.failed("10.1.0.99", 100.0)
    tries.check("10.1.0.98", 100.0)


async def test_a_logout_ends_the_session_for_good() -> None:
    async with TestCluster([Cart], silos=1) as cluster, dashboard_of(cluster) as dashboard:
        browser = await logged_in(dashboard)
        cookies = dict(browser.cookies)
        assert (await browser.post("/api/logout")).status == 204
        assert (await Browser(dashboard.app, cookies=cookies).get("/api/me")).status == 401


async def test_passwords_are_not_hashed_once_the_tries_are_used_up(
    time: VirtualTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hash takes a processor: without the limit, any peer could take it."""
    hashed: list[str] = []
    monkeypatch.setattr(login, "matches", lambda password, _: hashed.append(password) or password == "right")
    logins = Logins(identity_of, {"ann": "hash"}, {})
    assert await logins.by_password("eve", "right", "10.0.0.2") is None, "an unknown user has no password"
    for number in range(TRIES_A_MINUTE):
        assert await logins.by_password("ann", f"wrong-{number}", "10.0.0.1") is None
    with pytest.raises(TooManyTries):
        await logins.by_password("ann", "right", "10.0.0.1")
    assert len(hashed) == 1 + TRIES_A_MINUTE
    await time.advance(61)
    assert await logins.by_password("ann", "right", "10.0.0.1") is not None


async def test_the_oldest_session_ends_when_there_are_too_many(
    time: VirtualTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(login, "MOST_SESSIONS", 2)
    logins = Logins(identity_of, {}, {})
    cookies = [await logins.by_token(TOKENS[Level.VIEWER], "") or "" for _ in range(3)]
    assert [logins.session(cookie) is not None for cookie in cookies] == [False, True, True]


async def test_a_session_ends_by_time() -> None:
    with clock_of_loop(virtual=True) as time:
        assert time is not None
        logins = Logins(identity_of, {}, {})
        cookie = await logins.by_token(TOKENS[Level.VIEWER], "")
        assert cookie is not None
        await time.advance(SESSION_SECONDS - 1)
        assert logins.session(cookie) is not None
        await time.advance(2)
        assert logins.session(cookie) is None


def test_a_hash_matches_its_password_only_and_never_shows_it() -> None:
    hashed = hash_password("pass word")
    assert "pass word" not in hashed
    assert hashed != hash_password("pass word")
    assert matches("pass word", hashed)
    assert not matches("pass  word", hashed)
    for wrong in ("", "md5$1$2$3", "scrypt$9999999999:8:1$AAAA$AAAA", "pass word"):
        with pytest.raises(ValueError):
            matches("pass word", wrong)
