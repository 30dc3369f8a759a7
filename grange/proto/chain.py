"""The call chain of a request: the turns that wait for it, as bytes of fixed size. Pure.

A chain is a row of links, that of the first caller first. A link is the id of a turn, or of a section of a turn that
`allow_reentrancy` opened: 8 bytes by chance, which only silos see. A silo believes chains of silos alone.
"""

from __future__ import annotations

LINK = 8
"""Bytes of one link."""

MOST_BYTES = 32 * LINK
"""Bytes of the longest chain. A longer one loses its first links: a call so deep no longer re-enters those turns."""

_SECTION = 0x80
"""The bit of the first byte of a link that tells sections from turns."""

_SECTION_BIT, _OTHER_BITS = 1 << 63, (1 << 63) - 1
"""The same in the number of a link, and all its other bits."""

_KEPT = LINK - MOST_BYTES
"""Where the part of a chain begins that has room for one more link."""


def checked(chain: bytes) -> bytes:
    """The chain as it arrived; empty if the bytes are none."""
    return chain if len(chain) <= MOST_BYTES and len(chain) % LINK == 0 else b""


def section_link(number: int) -> bytes:
    """The link of a section, made of a random number of 64 bits."""
    return (number | _SECTION_BIT).to_bytes(LINK, "big")


def with_turn(chain: bytes, number: int) -> bytes:
    """The chain with the link of a turn, made of a random number of 64 bits, at its end."""
    return chain[_KEPT:] + (number & _OTHER_BITS).to_bytes(LINK, "big")


def extended(chain: bytes, link: bytes) -> bytes:
    """The chain with one more link at its end."""
    return chain[_KEPT:] + link


def holds(chain: bytes, link: bytes) -> bool:
    """Whether the chain has this link; no chain has the empty one."""
    at = chain.find(link) if link else -1
    while at > 0 and at % LINK:
        at = chain.find(link, at + 1)
    return at >= 0


def without_sections(chain: bytes) -> bytes:
    """The chain with its turns alone, so that the request re-enters none of them."""
    links = (chain[at : at + LINK] for at in range(0, len(chain), LINK))
    return b"".join(link for link in links if link[0] < _SECTION)
