"""A secret value shows itself nowhere."""

from __future__ import annotations

import copy
import json
import pickle

import msgspec
import pytest
from rich.pretty import pretty_repr

from grange.security.secret import Secret

CANARY = "canary-0815"


def test_only_reveal_gives_the_text() -> None:
    """S9: `repr`, `str`, formats and JSON."""
    secret = Secret(CANARY)
    assert secret.reveal() == CANARY
    shown = [
        str(secret), repr(secret), f"{secret}", f"{secret!r:>20}", f"{secret:>20}", "%s %r" % (secret, secret),  # noqa: UP031
        repr([secret]), repr({"a": secret}), pretty_repr(secret), json.dumps({"a": secret}, default=str),
        msgspec.json.encode({"a": secret}, enc_hook=str).decode(), repr(copy.deepcopy([secret])), str(vars(Secret)),
    ]  # fmt: skip
    assert all(CANARY not in each for each in shown)
    assert json.loads(shown[9]) == {"a": "***"}
    assert shown[0] == "***"


def test_encoders_that_do_not_know_it_refuse_it() -> None:
    for encode in (json.dumps, msgspec.json.encode, msgspec.msgpack.encode, pickle.dumps):
        with pytest.raises(TypeError) as caught:
            encode(Secret(CANARY))
        assert CANARY not in str(caught.value)


def test_it_is_no_text() -> None:
    with pytest.raises(TypeError):
        "-".join([Secret(CANARY)])  # type: ignore[list-item]
    assert not isinstance(Secret(CANARY), str)


def test_two_are_equal_if_their_texts_are() -> None:
    assert Secret("a\udcff") == Secret("a\udcff")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2
    assert [bool(Secret("")), bool(Secret("a"))] == [False, True]
