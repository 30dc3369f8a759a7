"""Checks reminders (I5): none is early, off its cadence, forgotten, late without a cause, or delivered after its end.

All times are whole microseconds of the clock of the store.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from grange.testing.checks.history import Violation

LATE = 1_000_000
"""Microseconds by which a tick may be late while there is no fault."""

STALE = 2
"""Ticks that may come after the end of their reminder in a run with faults: each silo that was cut off may have one."""


class Armed(msgspec.Struct, frozen=True):
    """A reminder that was set: its id, its first tick and its period."""

    id: str
    first: int
    every: int


class Came(msgspec.Struct, frozen=True):
    """A tick as its grain got it. `missed`: ticks before it that were left out."""

    at: int
    id: str
    scheduled: int
    missed: int

    @property
    def of(self) -> str:
        """The id of its reminder."""
        return self.id.rpartition("-")[0]


class Life(msgspec.Struct, frozen=True):
    """A reminder that was certainly set, from `since`. It was certainly stored until `sure_until`, and gone at `gone`.

    `gone` None: it was never certainly gone.
    """

    key: str
    armed: Armed
    since: int
    sure_until: int
    gone: int | None


class Faults(msgspec.Struct, frozen=True):
    """When ticks must be in time: from `settled` on. `until`: the end of the run. `none`: there was no fault at all.

    What is due less than `slack` before the end of its reminder need not have come.
    """

    settled: int
    until: int
    slack: int
    none: bool


def ticks(key: str, came: Sequence[Came]) -> Iterator[Violation]:
    """Check the ticks of one grain by themselves: none is early, and each time of a reminder has one id."""
    ids: dict[tuple[str, int], str] = {}
    times: dict[str, int] = {}
    for tick in came:
        if tick.at < tick.scheduled:
            yield Violation("I5", key, f"tick {tick.id} came {tick.scheduled - tick.at} us early")
        if ids.setdefault((tick.of, tick.scheduled), tick.id) != tick.id:
            yield Violation("I5", key, f"the tick of {tick.scheduled} came as {tick.id}, and under another id")
        if times.setdefault(tick.id, tick.scheduled) != tick.scheduled:
            yield Violation("I5", key, f"tick {tick.id} is scheduled at two times")


def lives(all_lives: Iterable[Life], came: Sequence[Came], faults: Faults) -> Iterator[Violation]:
    """Check the reminders of one grain against its ticks."""
    for life in all_lives:
        mine = [tick for tick in came if tick.of == life.armed.id]
        yield from _cadence(life, mine)
        yield from _end(life, mine, faults)
        yield from _all_came(life, mine, faults)
        if faults.none and len({tick.id for tick in mine}) < len(mine):
            yield Violation("I5", life.key, f"a tick of {life.armed.id} came twice without any fault")


def _cadence(life: Life, mine: Sequence[Came]) -> Iterator[Violation]:
    for tick in mine:
        if tick.scheduled < life.armed.first or (tick.scheduled - life.armed.first) % life.armed.every:
            yield Violation("I5", life.key, f"tick {tick.id} is off the cadence of {life.armed}")


def _end(life: Life, mine: Sequence[Came], faults: Faults) -> Iterator[Violation]:
    if life.gone is None:
        return
    after = [tick for tick in mine if tick.at > life.gone]
    if len(after) > (0 if faults.none else STALE) or any(tick.at > faults.settled for tick in after):
        text = f"{len(after)} ticks of {life.armed.id} came after it was gone at {life.gone}: {after[-1]}"
        yield Violation("I5", life.key, text)


def _all_came(life: Life, mine: Sequence[Came], faults: Faults) -> Iterator[Violation]:
    every = life.armed.every
    covered = {tick.scheduled - left * every for tick in mine for left in range(tick.missed + 1)}
    first_at: dict[int, int] = {}
    for tick in mine:
        first_at.setdefault(tick.scheduled, tick.at)
    last = faults.until - LATE if life.sure_until >= faults.until else life.sure_until - faults.slack
    for scheduled in range(life.armed.first, last, every):
        if scheduled not in covered:
            yield Violation("I5", life.key, f"the tick of {scheduled} of {life.armed} never came")
            return
        late = first_at.get(scheduled, scheduled) - scheduled
        if scheduled > faults.settled and late > LATE:
            yield Violation("I5", life.key, f"the tick of {scheduled} came {late / 1_000_000:.2f} s late")
