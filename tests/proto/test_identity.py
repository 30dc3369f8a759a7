"""Identities as bytes, and the names in certificates."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grange.proto.identity import (
    GRAIN,
    MOST_BYTES,
    ROOM,
    Identity,
    SpiffeId,
    check_user,
    decode_identity,
    encode_identity,
    parse_spiffe,
    server_name,
    spoken_by,
)

TEXT = st.text(max_size=40)


@given(st.builds(Identity, TEXT, st.lists(TEXT, max_size=5).map(tuple), TEXT, TEXT))
def test_an_identity_comes_back_equal(identity: Identity) -> None:
    assert decode_identity(encode_identity(identity)) == identity


def test_no_principal_is_no_identity() -> None:
    assert decode_identity(b"") is None


def test_an_identity_has_a_bound() -> None:
    with pytest.raises(ValueError, match="at most 4,096 bytes"):
        encode_identity(Identity("x" * MOST_BYTES))
    with pytest.raises(ValueError, match="over the limit"):
        decode_identity(b"\x94" + b"x" * MOST_BYTES)


def test_the_identity_of_a_user_leaves_room_for_each_that_speaks_for_it() -> None:
    """Else the first call of a grain would fail, or the first of a program with a long name."""
    largest = Identity("x" * (MOST_BYTES - ROOM - 7), via="a" * MOST_BYTES)
    assert check_user(largest) is largest
    largest = msgspec.structs.replace(largest, via="")
    for speaker in (f"spiffe://{'a' * 382}/client/x", GRAIN + "a" * 64):
        spoken = decode_identity(spoken_by(encode_identity(largest), speaker))
        assert spoken is not None
        assert spoken.via == speaker
    assert parse_spiffe(f"spiffe://{'a' * 382}/client/x").name == "x"
    with pytest.raises(ValueError, match="has at most 3,584 bytes"):
        check_user(Identity("x" * (MOST_BYTES - ROOM)))


@given(st.binary(min_size=1, max_size=200))
def test_noise_is_refused_or_read_as_an_identity(noise: bytes) -> None:
    try:
        found = decode_identity(noise)
    except ValueError:
        return
    assert isinstance(found, Identity)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("spiffe://shop/silo", SpiffeId("shop", "silo")),
        ("spiffe://shop/client/web", SpiffeId("shop", "client", "web")),
        ("spiffe://shop/admin/ann", SpiffeId("shop", "admin", "ann")),
    ],
)
def test_names_are_read_and_written(text: str, expected: SpiffeId) -> None:
    assert parse_spiffe(text) == expected
    assert str(expected) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no name of the form"),
        ("https://shop/silo", "no name of the form"),
        ("spiffe:///silo", "no name of the form"),
        ("spiffe://shop", "names no role"),
        ("spiffe://shop/root", "names no role"),
        ("spiffe://shop/silo/1", "more than a silo's name"),
        ("spiffe://shop/client", "needs one name"),
        ("spiffe://shop/client/", "needs one name"),
        ("spiffe://shop/client/a/b", "needs one name"),
        (f"spiffe://{'a' * 383}/client/x", "more than 400 characters"),
    ],
)
def test_other_names_are_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_spiffe(text)


def test_the_server_name_is_a_dns_name() -> None:
    assert server_name("Shop") == "silo.shop.grange"
