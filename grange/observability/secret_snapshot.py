"""The figures of secrets in a snapshot. Pure."""

from __future__ import annotations

from typing import ClassVar

import msgspec


class SecretSnapshot(msgspec.Struct, frozen=True):
    """The secrets of this silo by source: `read` with success, `failed`. `refused`: logins that a store refused.

    `unread`: secrets that cannot be read now, whose last good values are used.
    """

    gauges: ClassVar[frozenset[str]] = frozenset({"unread"})

    read: dict[str, int] = {}
    failed: dict[str, int] = {}
    unread: dict[str, int] = {}
    refused: int = 0
