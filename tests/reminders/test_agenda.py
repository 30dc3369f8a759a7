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


@pytest.mark.parametrize("seed", range(30))
def test_a_cancelled_reminder_is_never_taken_after_its_news(seed: int) -> None:
    """Reads of the store may be slow and old: at random points of a store that changes all the time."""
    dice = random.Random(seed)
    store: dict[GrainId, ReminderRow] = {}
    grains = [GrainId("cart", str(number)) for number in range(6)]
    gone: set[str] = set()  # etags that the agenda was told are no longer stored
    agenda = loaded(10**6)
    reads: list[tuple[Reading, list[ReminderRow]]] = []
    grain_reads: dict[GrainId, tuple[Reading, list[ReminderRow]]] = {}
    for number in range(600):
        grain = dice.choice(grains)
        act = dice.randrange(6)
        if act == 0 and grain not in grain_reads:  # set or cancel, and the news of it
            if (old := store.pop(grain, None)) is not None:
                gone.add(old.etag)
            if dice.random() < 0.6:
                store[grain] = row(grain, due=number + dice.randrange(20), etag=str(number))
            grain_reads[grain] = agenda.begin_grain(grain), [each for each in [store.get(grain)] if each]
        elif act == 1 and grain in grain_reads:
            reading, rows = grain_reads.pop(grain)
            agenda.end_grain(grain, reading, rows)
        elif act == 2:
            reads.append((agenda.begin(10**6), sorted(store.values(), key=lambda each: each.due or 0)))
        elif act == 3 and reads:
            agenda.end(*reads.pop(dice.randrange(len(reads))), more=False)
        elif act == 4 and (one := agenda.take(number)) is not None:
            assert one.row.etag not in gone
            if store.get(one.row.grain_id) == one.row:
                new = store[one.row.grain_id] = row(one.row.grain_id, due=number + 9, etag=str(number))
                gone.add(one.row.etag)
                agenda.done(one, new)
    for grain, (reading, rows) in grain_reads.items():
        agenda.end_grain(grain, reading, rows)
    agenda.end(agenda.begin(10**6), sorted(store.values(), key=lambda each: each.due or 0), more=False)
    assert {each.row.etag for each in agenda if not each.taken} == {each.etag for each in store.values()}
