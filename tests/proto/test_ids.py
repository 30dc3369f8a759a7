"""Identities: text forms, order, place on the hash ring."""

from __future__ import annotations

import contextlib
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grange import ConfigurationError, GrainId, SiloAddress
from grange.proto.ids import GrainAddress, endpoint_of, split_endpoint

HOSTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1)
NUMBERS = st.integers(0, 2**63)
ADDRESSES = st.builds(SiloAddress, HOSTS, st.integers(0, 65535), NUMBERS)

RING_HASH_OF_CART_ANN = 10447583213058946946


@given(ADDRESSES)
def test_the_text_of_an_address_is_read_back(address: SiloAddress) -> None:
    """With any host, including colons of IPv6 and `@`."""
    assert SiloAddress.parse(str(address)) == address


@pytest.mark.parametrize(
    "text", ["", "host", "host:1", "host@1", ":1@1", "host:@1", "host:1@", "host:x@1", "host:1@x", "host:-1@1", "h:²@1"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="host:port@generation"):
        SiloAddress.parse(text)


@given(st.text())
def test_no_text_breaks_the_parser(text: str) -> None:
    """The result is an address or a ConfigurationError."""
    with contextlib.suppress(ConfigurationError):
        SiloAddress.parse(text)


@pytest.mark.parametrize(
    ("host", "endpoint"),
    [
        ("::1", "[::1]:11111"),
        ("fe80::1%eth0", "[fe80::1%eth0]:11111"),
        ("10.0.0.5", "10.0.0.5:11111"),
        ("s-1", "s-1:11111"),
    ],
)
def test_an_ipv6_address_is_written_and_read_with_brackets(host: str, endpoint: str) -> None:
    """With its scope id, if it has one."""
    address = SiloAddress(host, 11111, 7)
    assert (address.endpoint, str(address)) == (endpoint, f"{endpoint}@7")
    assert SiloAddress.parse(f"{endpoint}@7") == address
    assert split_endpoint(endpoint) == (host, 11111)


@pytest.mark.parametrize("text", ["::1:11111", "::1", "[::1]", "[::1", "::1]:5", "[::1:5", ":5", "h", "h:", "[]:5x"])
def test_an_endpoint_that_could_be_read_in_two_ways_is_none(text: str) -> None:
    """The last colon of an IPv6 address without brackets may belong to the address."""
    assert split_endpoint(text) is None
    with pytest.raises(ConfigurationError):
        SiloAddress.parse(f"{text}@7")


@given(HOSTS, st.integers(0, 65535))
def test_every_endpoint_is_read_back(host: str, port: int) -> None:
    assert split_endpoint(endpoint_of(host, port)) == (host, port)


def test_generations_share_an_endpoint_and_are_ordered() -> None:
    old, new = SiloAddress("h", 1, 1), SiloAddress("h", 1, 2)
    assert old.endpoint == new.endpoint == "h:1"
    assert old != new
    assert old < new


def test_the_place_on_the_ring_never_changes() -> None:
    """The value is fixed: a release that computes another place would lose every grain of a running cluster."""
    assert GrainId("cart", "ann").ring_hash == RING_HASH_OF_CART_ANN
    assert GrainId("a", "b/c").ring_hash != GrainId("a/b", "c").ring_hash


def test_the_place_on_the_ring_is_the_same_in_every_process() -> None:
    code = "from grange.proto.ids import GrainId; print(GrainId('cart', 'ann').ring_hash)"
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        )
        assert int(done.stdout) == RING_HASH_OF_CART_ANN


def test_the_same_activation_under_another_version() -> None:
    here, there = SiloAddress("h", 1, 1), SiloAddress("h", 1, 2)
    one = GrainAddress(GrainId("cart", "ann"), here, 7, version=1)
    assert one.same_activation(GrainAddress(one.grain_id, here, 7, version=9))
    assert not one.same_activation(GrainAddress(one.grain_id, here, 8, version=1))
    assert not one.same_activation(GrainAddress(one.grain_id, there, 7, version=1))
    assert not one.same_activation(None)
