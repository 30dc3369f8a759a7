"""What a stored state shows to people: the secrets in it never, and never more than a bounded part (S10)."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grange.silo import redaction
from grange.silo.redaction import LARGEST, LONGEST, MOST_VALUES, Redaction

CANARY = "canary-4711"


def shown(state: str, value: Any, *patterns: str) -> Any:
    return json.loads(Redaction(patterns).show(state, json.dumps(value).encode()).json)


@pytest.mark.parametrize(
    "name",
    ["password", "Password", "user_password", "api_key", "apiKey", "API-Key", "token", "accessToken", "client_secret",
     "pin", "CVV", "iban", "card_number", "authorization", "sessionId", "private-key", "passphrase", "pwd", "userPwd",
     "pass", "db_pass", "smtpPass", "DB_PASS", "dbpass", "passwd", "jwt", "jwtToken", "accessKey", "AWS_ACCESS_KEY_ID",
     "credential", "credentials", "card_pin", "bearer"],
)  # fmt: skip
def test_names_that_look_like_secrets_are_hidden_at_every_depth(name: str) -> None:
    for value in ({name: CANARY}, {"a": [{"b": {name: {"deep": [CANARY]}}}]}):
        text = json.dumps(shown("state", value))
        assert CANARY not in text
        assert "***" in text
    assert shown(name, {"a": CANARY}) == "***"


@pytest.mark.parametrize(
    "name",
    ["pinned", "spinach", "skill", "author", "keyboard", "price", "passenger", "passengers", "compass", "bypass",
     "passed", "passive", "access", "key", "keys", "spin", "passport_country", "bandpass", "PassengerName",
     "pass_count", "pinCount"],
)  # fmt: skip
def test_ordinary_names_are_shown(name: str) -> None:
    assert shown("state", {name: "x"}) == {name: "x"}


@pytest.mark.parametrize(
    ("pattern", "value", "result"),
    [
        ("*.note", {"note": 1, "a": {"note": 2}}, {"note": "***", "a": {"note": "***"}}),
        ("cart.note", {"note": 1, "a": {"note": 2}}, {"note": "***", "a": {"note": 2}}),
        ("order.note", {"note": 1}, {"note": 1}),
        (
            "cart.items.*.price",
            {"items": {"apple": {"price": 3, "n": 1}}},
            {"items": {"apple": {"price": "***", "n": 1}}},
        ),
        ("cart.items.*.price", {"items": [{"price": 3}]}, {"items": [{"price": "***"}]}),
        ("cart.items.price", {"items": [{"price": 3}]}, {"items": [{"price": "***"}]}),
        ("cart.items.0", {"items": [1, 2]}, {"items": ["***", 2]}),
        ("cart", {"a": 1}, "***"),
        ("*", {"a": 1}, "***"),
        ("cart.a.b", {"a.b": 1, "a": {"b": 2}}, {"a.b": 1, "a": {"b": "***"}}),
    ],
)
def test_a_pattern_hides_what_it_names(pattern: str, value: Any, result: Any) -> None:
    assert shown("cart", value, pattern) == result


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abxyz_.\u00e9\u2603", max_size=3), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(JSON, st.text("abc*.", max_size=8))
def test_a_state_without_secrets_is_shown_as_it_is(value: Any, pattern: str) -> None:
    assert shown("zzz", value) == value
    Redaction([pattern]).show("zzz", msgspec.json.encode(value))


def test_a_large_state_is_cut_and_says_so() -> None:
    for value in (["x" * 100] * 2_000, list(range(MOST_VALUES + 10))):
        found = Redaction(()).show("state", json.dumps(value).encode())
        assert found.cut
        assert 0 < len(found.json.encode()) <= LONGEST + 4
    assert Redaction(()).show("state", b"[" + b"1," * LARGEST + b"1]") == Redaction(()).show("state", b"not JSON")


def test_what_no_text_has_room_for_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """A megabyte has half a million values: a look at each would hold the event loop for a second."""
    looked_at: list[str] = []
    monkeypatch.setattr(redaction, "_looks_secret", lambda name: looked_at.append(name))
    for value in ([0] * (LARGEST // 3), [{}] * 40_000, {str(number): 0 for number in range(40_000)}):
        looked_at.clear()
        assert Redaction(("*.a.*.b",)).show("state", msgspec.json.encode(value)).cut
        assert len(looked_at) <= MOST_VALUES + 1


def test_deep_nesting_is_harmless() -> None:
    found = Redaction(["*.x"]).show("state", b"[" * 500 + b"]" * 500)
    assert found.cut
    assert Redaction(()).show("state", b"[" * 100_000).cut
