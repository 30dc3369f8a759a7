"""The figures of the audit of a silo: a part of its `Snapshot`. Pure."""

from __future__ import annotations

from typing import ClassVar

import msgspec


class AuditSnapshot(msgspec.Struct, frozen=True):
    """The audit of this silo: `rows` and `denials` by kind; `suppressed` denials had no row.

    `waiting` rows are not in its table yet, `lost` ones will not come there.
    """

    gauges: ClassVar[frozenset[str]] = frozenset({"waiting"})

    rows: dict[str, int] = {}
    denials: dict[str, int] = {}
    suppressed: int = 0
    waiting: int = 0
    lost: int = 0
