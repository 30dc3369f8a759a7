"""The call chain of a request: the turns that wait for it, as bytes of fixed size. Pure.

A chain is a row of links, that of the first caller first. A link is the id of a turn, or of a section of a turn that
`allow_reentrancy` opened: 8 bytes by chance, which only silos see. A silo believes chains of silos alone.
"""

from __future__ import annotations

LINK = 8
"""Bytes of one link."""

MOST_BYTES = 32 * LINK
"""Bytes of the longest chain. A longer one loses its first links: a call so deep no longer re-enters those turns."""


def checked(chain: bytes) -> bytes:
    """The chain as it arrived; empty if the bytes are none."""
    return chain if len(chain) <= MOST_BYTES and len(chain) % LINK == 0 else b""
