"""An agenda holds what is due soon of the slots that its silo owns, and never brings back what was changed."""

from __future__ import annotations

import random

import pytest

from grange.proto.ids import GrainId
from grange.reminders.agenda import MOST_STALE, Agenda, Reading, owned_slots
from grange.storage.sets import SLOT_BITS, SLOTS, ReminderRow

A, B = GrainId("cart", "a"), GrainId("cart", "b")
ALL = frozenset(range(SLOTS))


def row(grain_id: GrainId = A, name: str = "r", due: int | None = 5, etag: str = "1", slot: int = 7) -> ReminderRow:
    """A stored row."""
    return ReminderRow(grain_id, name, slot, due, b"{}", etag)


def loaded(until: int = 10, *rows: ReminderRow) -> Agenda:
    """An agenda that owns all slots and has read these rows."""
    agenda = Agenda()
    agenda.own(ALL)
    agenda.end(agenda.begin(until), rows, more=False)
    return agenda


def taken(agenda: Agenda, now: int) -> list[tuple[str, str]]:
    """Take all that is due: name and etag."""
    found: list[tuple[str, str]] = []
    while (each := agenda.take(now)) is not None:
        found.append((each.row.name, each.row.etag))
    return found


def test_rows_are_taken_when_they_are_due_and_in_that_order() -> None:
    """Never before, and each once."""
    agenda = loaded(10, row(name="late", due=6), row(name="soon", due=5))
    assert (agenda.next_due, agenda.take(4)) == (5, None)
    assert taken(agenda, 6) == [("soon", "1"), ("late", "1")]
    assert (agenda.next_due, taken(agenda, 9)) == (None, [])


def test_a_row_beyond_the_horizon_stays_in_the_store() -> None:
    """REM-11: only what is due within the window is held, and what was advanced beyond it is forgotten again."""
    agenda = loaded(10)
    agenda.note(row(due=11))
    assert len(agenda) == 0
    agenda.note(row(due=10))
    one = agenda.take(10)
    assert one is not None
    agenda.done(one, row(due=20, etag="2"))
    assert len(agenda) == 0


def test_an_advanced_row_within_the_window_waits_again() -> None:
    """Its new due time counts."""
    agenda = loaded(10, row())
    one = agenda.take(5)
    assert one is not None
    agenda.done(one, row(due=8, etag="2"))
    assert (agenda.take(7), taken(agenda, 8)) == (None, [("r", "2")])


def test_a_slow_read_brings_nothing_back_that_was_removed_meanwhile() -> None:
    """What was removed, advanced or set again since the read began is newer than the read."""
    agenda = loaded(10, row())
    reading = agenda.begin(20)
    agenda.removed((A, "r"))
    agenda.note(row(B, due=9, etag="2"))
    agenda.end(reading, [row(), row(B, due=5, etag="1")], more=False)
    assert taken(agenda, 20) == [("r", "2")]
    assert agenda.horizon == 20


def test_a_slow_read_brings_nothing_back_that_was_cancelled_before_it_was_held() -> None:
    """The read has it, from before the news; the agenda does not know it yet."""
    agenda = loaded(10)
    reading = agenda.begin(20)
    agenda.end_grain(A, agenda.begin_grain(A), [])
    agenda.end(reading, [row(due=15), row(B, due=15)], more=False)
    assert len(agenda) == 1


def test_a_row_that_is_set_during_a_read_is_held_as_far_as_the_read_goes() -> None:
    """The read leaves it alone, so it would be late if it were left to the next one."""
    agenda = loaded(10)
    reading = agenda.begin(20)
    agenda.end_grain(A, agenda.begin_grain(A), [row(due=15)])
    agenda.end(reading, [], more=False)
    assert taken(agenda, 15) == [("r", "1")]


def test_a_read_forgets_what_is_no_longer_stored() -> None:
    """It was removed by another silo, whose word never came."""
    agenda = loaded(10, row(), row(B))
    agenda.end(agenda.begin(20), [row(B)], more=False)
    assert len(agenda) == 1


def test_a_read_with_more_to_come_counts_only_as_far_as_it_got() -> None:
    """Of its last time there may be more rows, so the horizon lies before it; what lies beyond is kept."""
    agenda = loaded(30, row(B, due=25))
    agenda.end(agenda.begin(40), [row(due=5), row(name="s", due=9)], more=True)
    assert (agenda.horizon, len(agenda)) == (8, 3)


def test_gained_slots_are_read_before_the_horizon_counts_again() -> None:
    """A read that asked for fewer slots does not move it."""
    agenda = Agenda()
    agenda.own(frozenset({7}))
    reading = agenda.begin(10)
    agenda.own(frozenset({7, 8}))
    agenda.end(reading, [row()], more=False)
    assert (agenda.horizon, len(agenda)) == (0, 1)
    agenda.end(agenda.begin(10), [row(), row(B, slot=8)], more=False)
    assert (agenda.horizon, len(agenda)) == (10, 2)


def test_lost_slots_are_forgotten_at_once() -> None:
    """Also the row of a delivery that ends later."""
    agenda = loaded(10, row(), row(B, slot=8))
    one = agenda.take(5)
    assert one is not None
    agenda.own(ALL - {7})
    agenda.done(one, row(due=6, etag="2"))
    assert [each.row.slot for each in agenda] == [8]


def test_news_of_a_grain_stops_its_reminders_until_they_were_read_anew() -> None:
    """The waiting ones; the read says which remain."""
    agenda = loaded(10, row(), row(name="s"), row(B))
    reading = agenda.begin_grain(A)
    assert taken(agenda, 10) == [("r", "1")]  # that of the other grain
    agenda.end_grain(A, reading, [row(name="s", due=6, etag="2"), row(name="far", due=99)])
    assert taken(agenda, 10) == [("s", "2")]


def test_a_read_of_a_grain_is_older_than_what_happens_during_it() -> None:
    """A delivery that advances its row meanwhile."""
    agenda = loaded(10, row())
    one = agenda.take(5)
    reading = agenda.begin_grain(A)
    assert one is not None
    agenda.done(one, row(due=8, etag="2"))
    agenda.end_grain(A, reading, [row()])
    assert taken(agenda, 10) == [("r", "2")]


def test_a_row_set_anew_during_its_delivery_is_due_by_itself() -> None:
    """The end of the delivery does not touch it."""
    agenda = loaded(10, row())
    one = agenda.take(5)
    assert one is not None
    agenda.end_grain(A, agenda.begin_grain(A), [row(due=6, etag="2")])
    agenda.done(one, row(due=99, etag="3"))
    assert taken(agenda, 10) == [("r", "2")]


def test_the_end_of_a_delivery_brings_nothing_back_that_was_cancelled_meanwhile() -> None:
    """Its row was stored, then cancelled, and the word of that came before the answer to the delivery."""
    agenda = loaded(10, row())
    one = agenda.take(5)
    assert one is not None
    agenda.end_grain(A, agenda.begin_grain(A), [])
    assert not agenda.done(one, row(due=8, etag="2"))
    assert taken(agenda, 10) == []


def test_a_delivery_that_changed_nothing_comes_again_unless_it_was_cancelled() -> None:
    """At the time that is given."""
    agenda = loaded(10, row(), row(B))
    first, second = agenda.take(5), agenda.take(5)
    assert first is not None
    assert second is not None
    agenda.end_grain(A, agenda.begin_grain(A), [])
    agenda.again(first, 7)
    agenda.again(second, 7)
    assert (agenda.take(6), len(taken(agenda, 7))) == (None, 1)


def test_a_failed_read_changes_nothing() -> None:
    """The horizon stays where it was."""
    agenda = loaded(10, row())
    agenda.give_up(agenda.begin(20))
    assert (agenda.horizon, len(agenda)) == (10, 1)


def test_the_queue_does_not_grow_with_rows_that_are_set_again() -> None:
    """An alarm that is pushed forward at each keystroke."""
    agenda = loaded(10)
    for number in range(5 * MOST_STALE):
        agenda.note(row(etag=str(number)))
    assert len(agenda._queue) < 2 * MOST_STALE
    assert taken(agenda, 10) == [("r", str(5 * MOST_STALE - 1))]


def test_slots_belong_to_the_range_with_their_first_hash() -> None:
    """So each slot belongs to one silo, also if a range begins or ends inside it."""
    width = 1 << (64 - SLOT_BITS)
    assert owned_slots([(0, 1 << 64)], SLOT_BITS) == ALL
    assert owned_slots([(0, 1), (1, width)], SLOT_BITS) == {0}
    assert owned_slots([(1, width + 1)], SLOT_BITS) == {1}


class Changing:
    """A store that changes at random, the agenda of a silo that learns of it late, and reads that take long."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.store: dict[GrainId, ReminderRow] = {}
        self.grains = [GrainId("cart", str(number)) for number in range(6)]
        self.gone: set[str] = set()  # etags that the agenda was told are no longer stored
        self.agenda = loaded(10**6)
        self.reads: list[tuple[Reading, list[ReminderRow]]] = []
        self.grain_reads: dict[GrainId, tuple[Reading, list[ReminderRow]]] = {}

    @property
    def rows(self) -> list[ReminderRow]:
        """All that is stored, by due time."""
        return sorted(self.store.values(), key=lambda each: each.due or 0)

    def change(self, now: int) -> None:
        """Set or cancel a reminder, and bring the news."""
        grain = self.dice.choice(self.grains)
        if grain in self.grain_reads:
            return
        if (old := self.store.pop(grain, None)) is not None:
            self.gone.add(old.etag)
        if self.dice.random() < 0.6:
            self.store[grain] = row(grain, due=now + self.dice.randrange(20), etag=str(now))
        self.grain_reads[grain] = self.agenda.begin_grain(grain), [each for each in self.rows if each.grain_id == grain]

    def end_grain_read(self, _: int) -> None:
        """A read of one grain ends."""
        if self.grain_reads:
            grain = self.dice.choice(list(self.grain_reads))
            self.agenda.end_grain(grain, *self.grain_reads.pop(grain))

    def begin_read(self, _: int) -> None:
        """The store answers a read, and the answer takes its time."""
        self.reads.append((self.agenda.begin(10**6), self.rows))

    def end_read(self, _: int) -> None:
        """The answer of a read comes."""
        if self.reads:
            self.agenda.end(*self.reads.pop(self.dice.randrange(len(self.reads))), more=False)

    def deliver(self, now: int) -> None:
        """Deliver what is due, and store its next time."""
        if (one := self.agenda.take(now)) is None:
            return
        assert one.row.etag not in self.gone
        if self.store.get(one.row.grain_id) == one.row:
            new = self.store[one.row.grain_id] = row(one.row.grain_id, due=now + 9, etag=str(now))
            self.gone.add(one.row.etag)
            self.agenda.done(one, new)


@pytest.mark.parametrize("seed", range(30))
def test_a_cancelled_reminder_is_never_taken_after_its_news(seed: int) -> None:
    """Also if slow reads bring it; and at last the agenda holds exactly what is stored."""
    scene = Changing(seed)
    acts = (scene.change, scene.end_grain_read, scene.begin_read, scene.end_read, scene.deliver)
    for number in range(600):
        scene.dice.choice(acts)(number)
    while scene.grain_reads:
        scene.end_grain_read(0)
    scene.agenda.end(scene.agenda.begin(10**6), scene.rows, more=False)
    assert {each.row.etag for each in scene.agenda if not each.taken} == {each.etag for each in scene.rows}
