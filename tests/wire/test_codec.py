"""Frames and bytes: every message is read back unchanged, and only frames are accepted."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grange.errors import HandshakeRefused
from grange.proto.codec import (
    MAX_MESSAGES,
    InvalidFrame,
    decode_frame,
    decode_greeting,
    encode_frame,
    encode_greeting,
)
from grange.proto.handshake import Hello, Role, Welcome
from grange.proto.ids import GrainId, SiloAddress
from grange.proto.message import Cancel, Encoding, Message, Reason, Rejection, Request, Response, Status

LIMIT = 2**22
ids = st.integers(0, 2**64 - 1)
words = st.text(max_size=20)
blobs = st.binary(max_size=50)
u32 = st.integers(0, 2**32 - 1)
addresses = st.builds(SiloAddress, words, st.integers(0, 65535), ids)
messages = st.one_of(
    st.builds(
        Request, ids, st.builds(GrainId, words, words), words, blobs,
        st.sampled_from(Encoding), u32, blobs, st.booleans(), ids,
    ),
    st.builds(Response, ids, blobs, st.booleans()),
    st.builds(Rejection, ids, st.sampled_from(Reason), words, st.none() | addresses, u32, blobs),
    st.builds(Cancel, ids),
    st.builds(Status, ids, words),
)  # fmt: skip
KINDS: list[type] = [Request, Response, Rejection, Cancel, Status]


@given(st.lists(messages, max_size=10))
def test_every_frame_comes_back_by_kind_and_in_order(sent: list[Message]) -> None:
    received = decode_frame(encode_frame(sent), LIMIT)
    assert received == sorted(sent, key=lambda message: KINDS.index(type(message)))
    for message in received:
        if isinstance(message, Request):
            assert type(message.encoding) is Encoding
        if isinstance(message, Rejection):
            assert type(message.reason) is Reason


@given(
    st.builds(
        Hello, words, st.sampled_from(Role), words, st.none() | addresses, st.none() | addresses, u32, u32, words, ids
    )
    | st.builds(Welcome, words, addresses, u32, words, ids)
)
def test_every_greeting_comes_back(greeting: Hello | Welcome) -> None:
    assert decode_greeting(encode_greeting(greeting), LIMIT) == greeting


def test_a_refusal_comes_back() -> None:
    refusal = decode_greeting(encode_greeting(HandshakeRefused("upgrade", code="protocol-version")), LIMIT)
    assert isinstance(refusal, HandshakeRefused)
    assert (str(refusal), refusal.code) == ("upgrade", "protocol-version")


@given(st.binary(max_size=300))
def test_any_bytes_are_a_frame_or_an_invalid_frame(data: bytes) -> None:
    for decode in (decode_frame, decode_greeting):
        try:
            decode(data, LIMIT)
        except InvalidFrame:
            continue


def test_mutated_frames_are_frames_or_invalid_frames() -> None:
    """F34, at the level of the codec: changed bytes raise no other error."""
    dice = random.Random(34)
    good = encode_frame(
        [
            Request(1, GrainId("cart", "ann"), "add", b"\x91\x01", timeout_ms=30_000, view=7),
            Response(2, b"\x01"),
            Rejection(3, Reason.NOT_HERE, "moved", SiloAddress("h", 1, 2)),
            Status(4, "queued"),
        ]
    )
    outcomes = {"frame": 0, "invalid": 0}
    for _ in range(5_000):
        bad = bytearray(good)
        for _ in range(dice.randint(1, 4)):
            bad[dice.randrange(len(bad))] = dice.randrange(256)
        try:
            decode_frame(bytes(bad[: dice.randint(1, len(bad))]), LIMIT)
            outcomes["frame"] += 1
        except InvalidFrame:
            outcomes["invalid"] += 1
    assert min(outcomes.values()) > 0


@pytest.mark.parametrize(
    "data",
    [
        b"\x22\xff\xff\xff\xff\x07",  # declares a request of two gigabytes
        b"\x22\x03\x12\x01\xff",  # invalid UTF-8 in a grain type
        b"\x23" * 10_000,  # groups within groups
        b"\x22\x02\x30\x05",  # an unknown encoding
        b"\x32\x02\x10\x63",  # an unknown reason
        b"\x2a\x04\x08",  # cut off
    ],
)
def test_what_is_not_a_frame_is_invalid(data: bytes) -> None:
    with pytest.raises(InvalidFrame):
        decode_frame(data, LIMIT)


def test_a_frame_over_the_limit_is_not_even_parsed() -> None:
    data = encode_frame([Response(1, bytes(1000))])
    assert len(decode_frame(data, len(data))) == 1
    with pytest.raises(InvalidFrame, match="over the limit"):
        decode_frame(data, len(data) - 1)


def test_a_frame_of_too_many_small_messages_is_refused_before_it_is_parsed() -> None:
    fair = encode_frame([Response(number, bytes(100)) for number in range(MAX_MESSAGES)])
    assert len(fair) > 64 * 1024
    assert len(decode_frame(fair, LIMIT)) == MAX_MESSAGES
    with pytest.raises(InvalidFrame, match="4,096 messages"):
        decode_frame(b"\x2a\x00" * 1_000_000, LIMIT)


def test_unknown_fields_are_ignored() -> None:
    """A peer of a later minor version may send more fields."""
    later = encode_frame([Response(1, b"x")]) + b"\xfa\x07\x03new"
    assert decode_frame(later, LIMIT) == [Response(1, b"x")]


def test_an_empty_frame_means_nothing() -> None:
    assert decode_frame(b"", LIMIT) == []
    with pytest.raises(InvalidFrame, match="neither"):
        decode_greeting(b"", LIMIT)
