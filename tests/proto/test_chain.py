"""Chains of links: bytes of fixed size, bounded, and searched link by link."""

from __future__ import annotations

from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from grange.proto.chain import LINK, MOST_BYTES, checked, extended, holds, section_link, with_turn, without_sections

NUMBERS = st.integers(0, 2**64 - 1)
LINKS = st.one_of(NUMBERS.map(partial(with_turn, b"")), NUMBERS.map(section_link))


@given(st.lists(LINKS, max_size=50))
def test_a_chain_keeps_its_last_links(links: list[bytes]) -> None:
    chain = b""
    for link in links:
        chain = extended(chain, link)
        assert checked(chain) == chain
    assert chain == b"".join(links[-MOST_BYTES // LINK :])
    kept = links[-MOST_BYTES // LINK :]
    assert without_sections(chain) == b"".join(
        link for link in kept if link == with_turn(b"", int.from_bytes(link, "big"))
    )


@given(st.lists(st.sampled_from([b"\1" * 8, b"\1" * 7 + b"\2", b"\2" + b"\1" * 7]), max_size=6), LINKS)
def test_only_whole_links_are_found(links: list[bytes], other: bytes) -> None:
    """The bytes of one link may appear across two others."""
    chain = b"".join(links)
    for link in (b"\1" * 8, b"\2" + b"\1" * 7, other):
        assert holds(chain, link) == (link in links)
    assert not holds(chain, b"")


@given(NUMBERS)
def test_a_turn_is_never_taken_for_a_section(number: int) -> None:
    assert with_turn(b"", number) != section_link(number)
    assert without_sections(with_turn(b"", number) + section_link(number)) == with_turn(b"", number)


@given(st.binary(max_size=MOST_BYTES + 100))
def test_other_bytes_are_no_chain(data: bytes) -> None:
    assert checked(data) in (data, b"")
    assert len(checked(data)) <= MOST_BYTES
    assert len(checked(data)) % LINK == 0
