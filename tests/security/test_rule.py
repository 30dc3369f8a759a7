"""The words of rules, and how they are read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grange.proto.identity import Identity
from grange.security.rule import ANONYMOUS, Rule, check_who, covers, fits, read_rules

ANN = Identity("user:ann", ("customer", "vip"), "acme", "spiffe://shop/client/web")
WEB = Identity("spiffe://shop/client/web")
CART = Identity("grain:cart")
FOR_ANN = Identity("user:ann", ("customer",), "acme", "grain:cart")
CODE = Identity("silo")


@pytest.mark.parametrize(
    ("word", "identity", "expected"),
    [
        ("user:ann", ANN, True),
        ("user:an", ANN, False),
        ("user:anna", ANN, False),
        ("subject:user:ann", ANN, True),
        ("subject:ann", Identity("ann"), True),
        ("role:customer", ANN, True),
        ("role:custom", ANN, False),
        ("role:customer", CODE, False),
        ("tenant:acme", ANN, True),
        ("tenant:acm", ANN, False),
        ("spiffe://shop/client/web", WEB, True),
        ("spiffe://shop/client/web", ANN, False),  # the subject counts: the web server speaks for ann
        ("spiffe://shop/client/*", WEB, True),
        ("spiffe://shop/client/*", Identity("spiffe://shop/client/"), False),
        ("spiffe://shop/client/*", Identity("spiffe://shop/admin/web"), False),
        ("spiffe://shop/client/*", Identity("spiffe://shop2/client/web"), False),
        ("spiffe://shop/*", WEB, True),
        ("grain:cart", CART, True),
        ("grain:cart", FOR_ANN, True),
        ("grain:car", FOR_ANN, False),
        ("grain:*", FOR_ANN, True),
        ("grain:*", CART, True),
        ("grain:*", CODE, False),
        ("grain:*", ANN, False),
        ("silo", CODE, True),
        ("silo", CART, False),
        ("*", ANN, True),
        ("*", None, False),
        ("anonymous", None, True),
        ("anonymous", ANN, False),
        ("anonymous", Identity("anonymous"), False),
        ("role:customer", None, False),
    ],
)
def test_a_word_fits_exactly(word: str, identity: Identity | None, expected: bool) -> None:
    """S4: no part of a name, and no pattern."""
    assert check_who(word) == word
    assert fits(word, identity) is expected


@given(st.text(), st.text(), st.text(), st.lists(st.text()))
def test_a_caller_without_an_identity_fits_one_word_only(word: str, subject: str, via: str, roles: list[str]) -> None:
    assert fits(word, None) is (word == ANONYMOUS)
    assert not fits(ANONYMOUS, Identity(subject, tuple(roles), via=via))


@given(st.text(), st.text(), st.text())
def test_no_name_of_a_user_fits_the_words_of_grains(subject: str, role: str, tenant: str) -> None:
    identity = Identity(f"user:{subject}", (role,), tenant, "spiffe://shop/client/web")
    assert not fits("grain:*", identity)
    assert not fits("silo", identity)


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("", "one word"),
        (" role:x", "spaces around"),
        ("role:x\n", "one word"),
        ("customer", "role:NAME"),
        ("role:", "names no caller"),
        ("user:*", "only as the last part"),
        ("*:ann", "only"),
        ("role:adm*", "only as the last part"),
        ("grain:Cart", "one grain type"),
        ("grain:ca*", "one grain type"),
        ("spiffe://shop", "of the form"),
        ("spiffe://*", "of the form"),
        ("spiffe://*/client/web", "of the form"),
        ("spiffe://shop/client/we*", "after a slash"),
        ("spiffe://shop/*/web", "after a slash"),
        ("x" * 501, "500 characters"),
    ],
)
def test_a_wrong_word_is_explained(word: str, reason: str) -> None:
    if word == "*:ann":
        assert not fits(word, Identity("user:ann"))
        return
    with pytest.raises(ValueError, match=reason):
        check_who(word)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("x", "list of tables"),
        ({"who": ["*"], "call": ["*/*"]}, "list of tables"),
        (["x"], "rule 1: must be a table"),
        ([{"who": ["*"], "call": ["*/*"]}, {"who": [], "call": ["*/*"]}], "rule 2: who must be a list of one or more"),
        ([{"who": ["*"]}], "call must be a list"),
        ([{"who": "*", "call": ["*/*"]}], "who must be a list of one or more texts, not '"),
        ([{"who": ["*"], "call": ["*/*"], "deny": True}], "'deny' is no part of a rule"),
        ([{"who": [1], "call": ["*/*"]}], "1 is none"),
        ([{"who": ["*"], "call": ["cart"]}], "a grain type and a method"),
        ([{"who": ["*"], "call": ["*/add"]}], "name the grain type"),
        ([{"who": ["*"], "call": ["Cart/add"]}], "no grain type"),
        ([{"who": ["*"], "call": ["cart/_add"]}], "no name of a method"),
        ([{"who": ["*"], "call": ["cart/add*"]}], "no name of a method"),
        ([{"who": ["role:x"] * 1001, "call": ["*/*"]}], "the limit is 1,000"),
    ],
)
def test_a_wrong_rule_names_its_place(given: object, reason: str) -> None:
    with pytest.raises(ValueError, match=reason.replace("*", r"\*")):
        read_rules(given)


def test_rules_are_read() -> None:
    rules = read_rules([{"who": ["role:customer"], "call": ["cart/*", "profile/read"]}])
    assert rules == (Rule(("role:customer",), ("cart/*", "profile/read")),)
    assert str(rules[0]) == "role:customer may call cart/*, profile/read"
    assert read_rules(rules) == rules


@pytest.mark.parametrize(
    ("word", "call", "expected"),
    [
        ("cart/add", "cart/add", True),
        ("cart/add", "cart/ad", False),
        ("cart/add", "car/add", False),
        ("cart/*", "cart/remove", True),
        ("cart/*", "carts/remove", False),
        ("*/*", "any/thing", True),
    ],
)
def test_a_word_covers_calls_exactly(word: str, call: str, expected: bool) -> None:
    assert covers(word, *call.split("/")) is expected
