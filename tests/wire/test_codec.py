"""Frames and bytes: every message is read back unchanged, and only frames are accepted."""

from __future__ import annotations

import random
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grange.errors import HandshakeRefused
from grange.proto import codec, packed
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
UP_TO_ITS_CHAIN = bytes.fromhex("919c040182a474797065a161a36b6579a162a163c401900000c400c200a0")
"""A packed frame with one request, without its last field."""
ids = st.integers(0, 2**64 - 1)
words = st.text(max_size=20)
blobs = st.binary(max_size=50)
u32 = st.integers(0, 2**32 - 1)
addresses = st.builds(SiloAddress, words, st.integers(0, 65535), ids)
messages = st.one_of(
    st.builds(
        Request, ids, st.builds(GrainId, words, words), words, blobs,
        st.sampled_from(Encoding), u32, blobs, st.booleans(), ids, words, blobs,
    ),
    st.builds(Response, ids, blobs, st.booleans()),
    st.builds(Rejection, ids, st.sampled_from(Reason), words, st.none() | addresses, u32, blobs),
    st.builds(Cancel, ids, st.booleans()),
    st.builds(Status, ids, words),
)  # fmt: skip
KINDS: list[type] = [Request, Response, Rejection, Cancel, Status]
either = pytest.mark.parametrize("frames", [codec, packed], ids=["protobuf", "packed"])


@either
@given(st.lists(messages, max_size=20))
def test_every_frame_comes_back_in_order(frames: ModuleType, sent: list[Message]) -> None:
    """A protobuf frame sorts its messages by kind."""
    received = frames.decode_frame(frames.encode_frame(sent), LIMIT)
    in_order = sent if frames is packed else sorted(sent, key=lambda message: KINDS.index(type(message)))
    assert received == in_order
    for message in received:
        if isinstance(message, Request):
            assert type(message.encoding) is Encoding
        if isinstance(message, Rejection):
            assert type(message.reason) is Reason


@given(
    st.builds(
        Hello,
        words,
        st.sampled_from(Role),
        words,
        st.none() | addresses,
        st.none() | addresses,
        u32,
        u32,
        words,
        ids,
        u32,
    )
    | st.builds(Welcome, words, addresses, u32, words, ids, u32)
)
def test_every_greeting_comes_back(greeting: Hello | Welcome) -> None:
    assert decode_greeting(encode_greeting(greeting), LIMIT) == greeting


def test_a_refusal_comes_back() -> None:
    refusal = decode_greeting(encode_greeting(HandshakeRefused("upgrade", code="protocol-version")), LIMIT)
    assert isinstance(refusal, HandshakeRefused)
    assert (str(refusal), refusal.code) == ("upgrade", "protocol-version")


@given(st.binary(max_size=300))
def test_any_bytes_are_a_frame_or_an_invalid_frame(data: bytes) -> None:
    for decode in (codec.decode_frame, packed.decode_frame, decode_greeting):
        try:
            decode(data, LIMIT)
        except InvalidFrame:
            continue


@either
@pytest.mark.parametrize("writer", [codec, packed], ids=["of protobuf", "of packed"])
def test_mutated_frames_are_frames_or_invalid_frames(frames: ModuleType, writer: ModuleType) -> None:
    """F34, S5, CLI-06, for the codec: changed bytes raise no other error, also those of the other encoding."""
    dice = random.Random(34)
    good = writer.encode_frame(
        [
            Request(
                1, GrainId("cart", "ann"), "add", b"\x91\x01", traceparent="00-ab", chain=bytes(8), interface_version=9
            ),
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
            frames.decode_frame(bytes(bad[: dice.randint(1, len(bad))]), LIMIT)
            outcomes["frame"] += 1
        except InvalidFrame:
            outcomes["invalid"] += 1
    assert frames is not writer or min(outcomes.values()) > 0


@pytest.mark.parametrize(
    ("frames", "data"),
    [
        (codec, b"\x22\xff\xff\xff\xff\x07"),  # declares a request of two gigabytes
        (codec, b"\x22\x03\x12\x01\xff"),  # invalid UTF-8 in a grain type
        (codec, b"\x23" * 10_000),  # groups within groups
        (codec, b"\x22\x02\x30\x05"),  # an unknown encoding
        (codec, b"\x32\x02\x10\x63"),  # an unknown reason
        (codec, b"\x2a\x04\x08"),  # cut off
        (packed, b""),  # not even a list
        (packed, b"\x81\x05\x01"),  # a map instead of a list
        (packed, b"\x91\x93\x05\x01\xc6\xff\xff\xff\xff"),  # declares a payload of four gigabytes
        (packed, b"\x91\x95\x04\x01\xdf\xff\xff\xff\xff"),  # declares a grain id of four billion fields
        (packed, b"\x91\x93\x08\x01\xa1\xff"),  # invalid UTF-8 in a status
        (packed, b"\x91\x93\x08\x01\xa3\xed\xa0\x80"),  # a lone surrogate
        (packed, UP_TO_ITS_CHAIN + b"\xc6\xff\xff\xff\xff"),  # declares a chain of four gigabytes
        (packed, UP_TO_ITS_CHAIN + b"\xa1a"),  # a chain as text
        (packed, b"\x91\x93\x07\x01" + b"\x91" * 1_000_000 + b"\xc0"),  # lists within lists, in an unknown field
        (packed, b"\x91\x92\x09\x01"),  # an unknown kind of message
        (packed, b"\x91\x90"),  # a message without a kind
        (packed, b"\x91\x91\x05"),  # a response without an id
        (packed, b"\x91\x92\x05\xff"),  # a negative id
        (packed, b"\x91\x92\x05\xcb\x3f\xf0\0\0\0\0\0\0"),  # an id that is not an integer
        (packed, b"\x91\x93\x06\x01\x63"),  # an unknown reason
        (packed, b"\x91\x93\x05\x01\xc4"),  # cut off
        (packed, b"\x91\x92\x07\x01\x00"),  # a byte too many
    ],
)
def test_what_is_not_a_frame_is_invalid(frames: ModuleType, data: bytes) -> None:
    with pytest.raises(InvalidFrame):
        frames.decode_frame(data, LIMIT)


@pytest.mark.parametrize("number", [-1, 2**32])
def test_a_number_out_of_its_range_is_invalid(number: int) -> None:
    """The sender of packed frames does not look at ranges; protobuf refuses to encode the same messages."""
    for message in (
        Request(1, GrainId("cart", "ann"), "add", b"", timeout_ms=number),
        Rejection(1, Reason.OVERLOADED, retry_after_ms=number),
        Rejection(1, Reason.NOT_HERE, hint=SiloAddress("h", number, 1)),
    ):
        with pytest.raises(InvalidFrame):
            packed.decode_frame(packed.encode_frame([message]), LIMIT)
        with pytest.raises(ValueError):
            encode_frame([message])


@either
def test_what_cannot_be_encoded_is_a_value_error(frames: ModuleType) -> None:
    for message in (Cancel(2**64), Request(1, GrainId("cart", "\ud800"), "add", b"")):
        with pytest.raises(ValueError):
            frames.encode_frame([message])


@either
def test_a_frame_over_the_limit_is_not_even_parsed(frames: ModuleType) -> None:
    data = frames.encode_frame([Response(1, bytes(1000))])
    assert len(frames.decode_frame(data, len(data))) == 1
    with pytest.raises(InvalidFrame, match="over the limit"):
        frames.decode_frame(data, len(data) - 1)


@either
def test_a_frame_of_too_many_small_messages_is_refused_before_it_is_parsed(frames: ModuleType) -> None:
    fair = frames.encode_frame([Response(number, bytes(100)) for number in range(MAX_MESSAGES)])
    assert len(fair) > 64 * 1024
    assert len(frames.decode_frame(fair, LIMIT)) == MAX_MESSAGES
    unfair = {
        codec: [b"\x2a\x00" * 1_000_000],
        packed: [
            b"\xdc\x10\x01" + b"\x92\x07\x01" * 4097,
            b"\xdd\x00\x0f\x42\x40" + b"\x92\x07\x01" * 1_000_000,
            b"\xdd\xff\xff\xff\xff",  # the list alone would take 32 gigabytes
        ],
    }
    for data in unfair[frames]:
        with pytest.raises(InvalidFrame, match="4,096 messages"):
            frames.decode_frame(data, LIMIT)


def test_a_list_may_have_a_long_header() -> None:
    """MessagePack allows headers longer than needed."""
    for header in (b"\x91", b"\xdc\x00\x01", b"\xdd\x00\x00\x00\x01"):
        assert packed.decode_frame(header + b"\x92\x07\x01", LIMIT) == [Cancel(1)]


@pytest.mark.parametrize(
    ("frames", "later"),
    [
        (codec, encode_frame([Response(1, b"x")]) + b"\xfa\x07\x03new"),
        (packed, b"\x91\x95\x05\x01\xc4\x01x\xc2\xa3new"),
    ],
)
def test_unknown_fields_are_ignored(frames: ModuleType, later: bytes) -> None:
    """A peer of a later minor version may send more fields."""
    assert frames.decode_frame(later, LIMIT) == [Response(1, b"x")]


def test_an_empty_frame_means_nothing() -> None:
    assert decode_frame(b"", LIMIT) == packed.decode_frame(packed.encode_frame([]), LIMIT) == []
    with pytest.raises(InvalidFrame, match="neither"):
        decode_greeting(b"", LIMIT)
