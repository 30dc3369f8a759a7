"""Any interleaving of changes decided on old reads: the invariants of the table (I7)."""

from __future__ import annotations

from datetime import timedelta

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from grange.errors import MembershipError
from grange.membership.model.member import Member, SiloStatus
from grange.membership.model.observations import Ages
from grange.membership.model.options import MembershipOptions
from grange.membership.model.provider import FRESH, Row, Table, table_version
from grange.membership.table.transitions import activate, enter, leave, mark_dead, suspect, unreached
from tests.membership.cluster import START, address, member

JOINING, ACTIVE, LEAVING, DEAD = SiloStatus
OPTIONS = MembershipOptions()
numbers = st.integers(0, 4)
generations = st.integers(1, 3)


class Protocol(RuleBasedStateMachine):
    """Silos read the table, decide, and write later; the write is a compare-and-swap as in every provider."""

    @initialize()
    def start(self) -> None:
        self.table = Table(FRESH)
        self.now = START
        self.reads: dict[object, Table] = {}

    @rule(number=numbers, generation=generations)
    def read(self, number: int, generation: int) -> None:
        self.reads[address(number, generation)] = self.table

    @rule(seconds=st.integers(0, 40))
    def wait(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(number=numbers, generation=generations)
    def tell_alive(self, number: int, generation: int) -> None:
        silo = address(number, generation)
        rows = (
            Row(msgspec.structs.replace(row.member, alive=self.now), row.etag) if row.member.address == silo else row
            for row in self.table.rows
        )
        self.table = Table(self.table.version, tuple(rows))

    @rule(number=numbers, generation=generations)
    def enter(self, number: int, generation: int) -> None:
        me = msgspec.structs.replace(member(address(number, generation)), started=self.now, alive=self.now)
        self.decide(me.address, lambda table: enter(table, me))

    @rule(number=numbers, generation=generations)
    def activate(self, number: int, generation: int) -> None:
        me = address(number, generation)
        self.decide(me, lambda table: activate(table, me, unreached(table, me, ())))

    @rule(number=numbers, generation=generations)
    def leave(self, number: int, generation: int) -> None:
        me = address(number, generation)
        self.decide(me, lambda table: leave(table, me))

    @rule(number=numbers, generation=generations)
    def mark_dead(self, number: int, generation: int) -> None:
        me = address(number, generation)
        self.decide(me, lambda table: mark_dead(table, me))

    @rule(number=numbers, generation=generations, other=numbers, other_generation=generations, stale=st.booleans())
    def suspect(self, number: int, generation: int, other: int, other_generation: int, stale: bool) -> None:
        me, target = address(number, generation), address(other, other_generation)
        every = [row.member.address for row in self.table.rows]
        ages = Ages(alive=dict.fromkeys(every, 2 * OPTIONS.stale_after if stale else 0.0))
        self.decide(me, lambda table: suspect(table, target, (me,), self.now, ages, OPTIONS))

    def decide(self, me, step) -> None:
        """Decide on the last read, which may be out of date."""
        table = self.reads.get(me, self.table)
        try:
            change = step(table)
        except MembershipError:
            return
        if change is None or table.version != self.table.version:
            return
        self.write(change.member, change.row_etag)

    def write(self, written: Member, etag: str | None) -> None:
        old = self.table.get(written.address)
        assert (old.etag if old else None) == etag
        if old is not None:
            assert old.member.status is not DEAD, "dead is final"
            assert written.status.rank >= old.member.status.rank
        number = self.table.version.number + 1
        others = tuple(row for row in self.table.rows if row.member.address != written.address)
        self.table = Table(table_version("x", number), (*others, Row(written, str(number))))

    @invariant()
    def one_generation_lives_at_an_endpoint(self) -> None:
        living = [row.member.address.endpoint for row in self.table.rows if row.member.status is not DEAD]
        assert len(living) == len(set(living))

    @invariant()
    def a_silo_has_one_vote_on_another_and_none_on_itself(self) -> None:
        for row in self.table.rows:
            voters = [vote.voter for vote in row.member.votes]
            assert len(voters) == len(set(voters))
            assert row.member.address not in voters


Protocol.TestCase.settings = settings(max_examples=40, stateful_step_count=50)
TestProtocol = Protocol.TestCase
