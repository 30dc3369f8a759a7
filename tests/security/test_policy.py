"""The decisions of a policy: rules and requirements together, and the verdicts that it remembers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grange.proto.identity import Identity, encode_identity
from grange.security import policy as module
from grange.security.policy import Policy, continues, facts, is_of_silo, named
from grange.security.rule import read_rules

ANN = Identity("user:ann", ("customer",), "acme")
BOB = Identity("user:bob", ("clerk",))
RULES = read_rules([
    {"who": ["role:customer"], "call": ["cart/*", "profile/read"]},
    {"who": ["grain:*", "silo"], "call": ["*/*"]},
])  # fmt: skip


def refusal(policy: Policy, identity: Identity | None, call: str) -> str:
    principal = b"" if identity is None else encode_identity(identity)
    return policy.refusal(principal, *call.split("/"))


def test_a_call_that_no_rule_allows_is_refused() -> None:
    """S4: with a rule, everything else is denied."""
    policy = Policy(RULES)
    assert refusal(policy, ANN, "cart/add") == ""
    assert refusal(policy, ANN, "profile/read") == ""
    assert refusal(policy, ANN, "profile/write")
    assert refusal(policy, BOB, "cart/add")
    assert refusal(policy, None, "cart/add")
    assert refusal(policy, Identity("grain:cart"), "profile/write") == ""
    assert refusal(policy, Identity("user:bob", via="grain:cart"), "profile/write") == ""
    assert refusal(policy, Identity("silo"), "profile/write") == ""


def test_a_refusal_says_who_what_and_what_would_allow_it() -> None:
    policy = Policy(RULES, {("cart", "close"): (("role:admin", "tenant:root"),)})
    text = refusal(policy, Identity("user:bob", ("clerk",), "acme", "spiffe://shop/client/web"), "cart/add")
    assert text == (
        "user:bob by spiffe://shop/client/web may not call cart/add: it is allowed to role:customer or grain:* or silo"
    )
    assert refusal(policy, ANN, "cart/close") == "user:ann may not call cart/close: it needs role:admin or tenant:root"
    assert "no rule in [[allow]] names this call" in refusal(Policy(RULES[:1]), ANN, "stock/take")
    assert refusal(policy, None, "cart/add").startswith("a caller without an identity may not call cart/add")


def test_requirements_add_to_the_rules() -> None:
    """S4: both must hold."""
    admin = Identity("user:root", ("admin",))
    both = Identity("user:carl", ("admin", "customer"))
    policy = Policy(RULES, {("cart", "close"): (("role:admin",),)})
    assert refusal(policy, admin, "cart/close")  # no rule allows it
    assert refusal(policy, ANN, "cart/close")  # it is no admin
    assert refusal(policy, both, "cart/close") == ""
    alone = Policy((), {("cart", "close"): (("role:admin",),)})
    assert refusal(alone, admin, "cart/close") == ""
    assert refusal(alone, ANN, "cart/close")
    assert refusal(alone, None, "cart/add") == ""  # nothing restricts the other methods


def test_each_of_several_requirements_must_be_fulfilled() -> None:
    policy = Policy((), {("cart", "close"): (("role:admin", "role:clerk"), ("tenant:acme",))})
    assert refusal(policy, Identity("user:x", ("clerk",), "acme"), "cart/close") == ""
    assert refusal(policy, Identity("user:x", ("clerk",)), "cart/close")
    assert refusal(policy, Identity("user:x", (), "acme"), "cart/close")


def test_the_hidden_methods_of_a_stream_are_those_of_its_method() -> None:
    """S4: streams."""
    policy = Policy(RULES[:1])
    assert named("$next.items") == named("$close.items") == "items"
    assert refusal(policy, ANN, "cart/$next.items") == ""
    assert refusal(policy, BOB, "cart/$next.items")
    assert refusal(policy, BOB, "profile/$next.read")


def test_a_principal_that_cannot_be_read_is_refused_and_not_remembered() -> None:
    policy = Policy(RULES)
    assert "cannot be read" in policy.refusal(b"\xff\xff", "cart", "add")
    assert not policy._verdicts


def test_verdicts_are_kept_apart_by_identity_type_and_method(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_VERDICTS", 8)
    policy = Policy(RULES)
    for _ in range(3):
        for number in range(20):
            assert refusal(policy, Identity(f"user:{number}", ("customer",)), "cart/add") == ""
            assert refusal(policy, Identity(f"user:{number}", ("clerk",)), "cart/add")
            assert refusal(policy, Identity(f"user:{number}", ("customer",)), "stock/add")
            assert refusal(policy, Identity(f"user:{number}", ("customer",)), "profile/write")
    assert len(policy._verdicts) <= 8


def test_callers_choose_names_and_fill_no_memory_with_them() -> None:
    """A name of a megabyte is neither remembered nor in the refusal whole; nor is the longest identity."""
    policy = Policy(RULES)
    long = Identity("user:" + "a" * 1000, ("customer",))
    assert refusal(policy, long, "cart/add") == ""
    for call in (f"cart/{'x' * 1_000_000}", f"{'x' * 1_000_000}/add"):
        assert len(refusal(policy, BOB, call)) < 500
        assert len(str(facts(BOB, call.partition("/")[0], "key", call.partition("/")[2]))) < 500
    assert not policy._verdicts
    assert refusal(policy, ANN, "cart/add") == ""
    assert len(policy._verdicts) == 1


WORDS = st.sampled_from(["role:a", "role:b", "tenant:t", "user:u", "silo", "grain:*", "anonymous", "*"])
IDENTITIES = st.none() | st.builds(
    Identity,
    st.sampled_from(["user:u", "user:v", "silo", "grain:cart"]),
    st.lists(st.sampled_from(["a", "b"]), max_size=2).map(tuple),
    st.sampled_from(["", "t"]),
    st.sampled_from(["", "grain:cart", "spiffe://shop/client/web"]),
)
TABLES = st.lists(
    st.fixed_dictionaries({
        "who": st.lists(WORDS, min_size=1, max_size=3),
        "call": st.lists(st.sampled_from(["cart/add", "cart/*", "*/*", "stock/take"]), min_size=1, max_size=2),
    }),
    max_size=3,
)  # fmt: skip
CALLS = st.sampled_from(["cart/add", "cart/close", "stock/take", "other/method"])


@given(TABLES, TABLES, IDENTITIES, CALLS)
def test_a_further_rule_refuses_nothing_that_was_allowed_by_one(more: list, given_: list, who, call: str) -> None:
    if given_:
        few, many = Policy(read_rules(given_)), Policy(read_rules([*given_, *more]))
        assert not refusal(many, who, call) or refusal(few, who, call)


@given(TABLES, IDENTITIES, CALLS, st.lists(WORDS, min_size=1, max_size=2))
def test_a_further_requirement_allows_nothing(tables: list, who, call: str, words: list[str]) -> None:
    rules = read_rules(tables)
    free, bound = Policy(rules), Policy(rules, {("cart", "add"): (tuple(words),)})
    assert not refusal(free, who, call) or refusal(bound, who, call)


@given(TABLES, IDENTITIES, CALLS)
def test_the_second_verdict_is_the_first(tables: list, who, call: str) -> None:
    policy = Policy(read_rules(tables))
    first = refusal(policy, who, call)
    assert refusal(policy, who, call) == first
    grain_type, method = call.split("/")
    assert policy.explain(who, grain_type, method).allowed is (first == "")


def test_an_explanation_names_what_decides() -> None:
    policy = Policy(RULES, {("cart", "close"): (("role:admin",),)})
    assert policy.explain(ANN, "cart", "add").by == (str(RULES[0]),)
    refused = policy.explain(ANN, "cart", "close")
    assert (refused.allowed, refused.by) == (False, ("@requires('role:admin')",))
    assert policy.explain(BOB, "cart", "add").by == (str(RULES[0]), str(RULES[1]))
    assert Policy().explain(None, "cart", "add").why == "nothing restricts this call"


def test_the_facts_of_a_call() -> None:
    assert facts(ANN, "cart", "ann", "$next.items").method == "items"
    assert facts(ANN, "cart", "ann", "add").via_gateway
    assert facts(None, "cart", "ann", "add").via_gateway
    for identity in (Identity("silo"), Identity("grain:cart"), Identity("user:ann", via="grain:cart")):
        assert is_of_silo(identity)
        assert not facts(identity, "cart", "ann", "add").via_gateway


WEB = "spiffe://shop/client/web"


@pytest.mark.parametrize(
    ("begun", "now", "next_items", "end"),
    [
        (Identity("user:ann", via=WEB), Identity("user:ann", ("vip",), via="grain:cart"), True, True),
        (Identity("user:ann"), Identity("user:bob"), False, False),
        (Identity("user:ann", via=WEB), Identity("user:bob", via=WEB), False, True),
        (Identity("user:ann", via=WEB), Identity(WEB), False, True),
        (Identity("user:ann", via="grain:cart"), Identity("user:bob", via="grain:cart"), True, True),
        (Identity("user:ann", via="grain:cart"), Identity("grain:cart"), True, True),
        (Identity("user:ann", via="grain:cart"), Identity("user:bob", via="grain:desk"), False, False),
    ],
)
def test_who_may_go_on_with_a_stream(begun: Identity, now: Identity, next_items: bool, end: bool) -> None:
    assert (continues(now, begun), continues(now, begun, ends=True)) == (next_items, end)
