"""The rows of the audits of all silos that this process has seen. A silo that has ended leaves its own here. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

import msgspec

from grange.membership.model.member import Member
from grange.proto.acts import Audit
from grange.proto.ids import SiloAddress
from grange.proto.journal import After

Facts = dict[str, Any]

ASKED = 200
"""Rows that one question asks a silo for."""

KEPT = 2000
"""Rows of each kind that are remembered, of all silos."""


class AuditMemory:
    """The rows, each once. A silo keeps its newest rows itself; they end with it, as after a drain."""

    def __init__(self) -> None:
        self._rows: dict[str, deque[Facts]] = {}
        self._numbers: dict[SiloAddress, int] = {}

    def question(self, member: Member) -> After:
        """The question for the rows of a silo that are not here yet."""
        return After(self._numbers.get(member.address, -ASKED), ASKED)

    def keep(self, member: Member, answer: Audit) -> None:
        """Keep the rows of an answer. Two questions at once may bring the same rows: they are kept once."""
        last = self._numbers.get(member.address, 0)
        new = [row for row in answer.rows if row.number > last]
        self._numbers[member.address] = max([last, *(row.number for row in new)])
        for row in new:
            rows = self._rows.setdefault(row.kind, deque(maxlen=KEPT))
            rows.append({**msgspec.to_builtins(row), "time": int(row.time * 1000), "silo": member.name})

    def forget(self, living: Iterable[SiloAddress]) -> None:
        """Forget the numbers of silos that are gone; their rows stay."""
        keep = set(living)
        self._numbers = {address: number for address, number in self._numbers.items() if address in keep}

    def newest(self, kind: str = "", who: str = "", what: str = "") -> list[Facts]:
        """The rows that fit, the newest first: `who` is in the actor or `via`, `what` in the action or target."""
        rows = (row for rows in self._rows.values() for row in reversed(rows) if kind in ("", row["kind"]))
        found = (
            row
            for row in rows
            if (who in row["actor"] or who in row["via"]) and (what in row["action"] or what in row["target"])
        )
        return sorted(found, key=lambda row: (-row["time"], -row["number"]))
