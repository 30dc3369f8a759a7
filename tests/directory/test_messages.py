"""The exact bytes of messages, and bytes and options that are refused."""

from __future__ import annotations

import pytest

from grange.directory.options import DirectoryOptions
from grange.directory.slice.messages import Lookup, Register, Reply, decode, encode, to_address, to_entry
from grange.directory.slice.partition import Refusal
from grange.errors import ConfigurationError, SiloUnavailable
from grange.proto.ids import GrainAddress, GrainId, SiloAddress

ADDRESS = GrainAddress(GrainId("cart", "ann"), SiloAddress("::1", 11111, 7), 2**127 + 1, 42)


def test_addresses_keep_all_128_bits_on_the_wire() -> None:
    assert to_address(to_entry(ADDRESS)) == ADDRESS


def test_a_request_and_a_reply_are_these_bytes() -> None:
    """The wire contract: silos of two versions exchange messages during a rolling upgrade."""
    entry = b"\x97\xa4cart\xa3ann\xa3::1\xcd\x2b\x67\x07\xc4\x10\x80" + b"\0" * 14 + b"\x01\x2a"
    assert encode(Register(3, to_entry(ADDRESS))) == b"\x93\x03" + entry + b"\xc0"
    assert encode(Reply(3, None, to_entry(ADDRESS))) == b"\x94\x03\xc0" + entry + b"\xcb" + b"\0" * 8
    assert encode(Reply(3, Refusal.NOT_OWNER)) == b"\x94\x03\xa9not owner\xc0\xcb" + b"\0" * 8


def test_a_field_that_a_newer_silo_appends_is_ignored() -> None:
    assert decode(Lookup, b"\x94\x03\xa4cart\xa3ann\x01") == Lookup(3, "cart", "ann")


def test_bytes_that_are_no_request_are_refused() -> None:
    with pytest.raises(SiloUnavailable, match="not a Lookup"):
        decode(Lookup, b"\x01")


def test_an_option_out_of_range_is_named() -> None:
    with pytest.raises(ConfigurationError, match="cache_size"):
        DirectoryOptions(cache_size=0)
    with pytest.raises(ConfigurationError, match="ready_wait"):
        DirectoryOptions(ready_wait=9)
