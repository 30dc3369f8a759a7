"""The number of a version of an interface: what a request carries."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from grange.proto.versions import LAST_VERSION, by_number, interface_number, interface_version, parts_of


@given(st.text(max_size=64), st.integers(1, LAST_VERSION))
def test_a_number_has_the_interface_and_the_version(name: str, version: int) -> None:
    number = interface_version(name, version)
    assert 0 < number < 2**32
    assert parts_of(number) == (interface_number(name), version)


def test_the_numbers_are_frozen() -> None:
    """They are on the wire: every process and every release has the same."""
    assert interface_version("cart_api", 0) == 0
    assert interface_version("cart_api", 2) == NUMBER
    assert by_number({"cart_api": 2}) == {NUMBER >> 16: ("cart_api", 2)}


NUMBER = 0xA6100002
