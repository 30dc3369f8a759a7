"""Numbers of workers, for ids that are made in memory (`snowflake.py`): 0 to 1023, each with a stored mark.

The mark is the last millisecond for which the owner of the number may make ids. The next owner begins after it. So the
ids of two owners differ, even if a clock is wrong, or the earlier owner still runs.
"""

from __future__ import annotations

from dataclasses import dataclass

from grange import Grain, PersistentState

NUMBERS = 1024
AHEAD = 1_000
"""Milliseconds that are reserved at a time."""

BEHIND = 5_000
"""Milliseconds that a clock may be behind the mark. It is more than `AHEAD`, so that a restart need not wait."""


class ClockBehind(Exception):
    """The clock is far behind a mark. No id is made until the clock is set right, or has caught up."""


def check_clock(now: int, mark: int) -> None:
    """Raise ClockBehind if it is."""
    if mark - now > BEHIND:
        raise ClockBehind(f"the clock is {(mark - now) / 1000:.1f} s behind the mark")


@dataclass
class Worker:
    """The owner of a number, and its mark in milliseconds since 1970."""

    owner: str
    mark: int


class Workers(Grain, name="workers", reentrant=True, errors=[ClockBehind]):
    """Gives numbers to processes. Reentrant, so that processes that ask at once share a write."""

    def __init__(self, workers: PersistentState[dict[int, Worker]]) -> None:
        self._workers = workers

    async def reserve(self, owner: str, now: int) -> tuple[int, int, int]:
        """The number of this owner, and its next milliseconds: after the second value, up to the third, the new mark.

        Raises ClockBehind; then nothing was changed. It may be repeated after any error.
        """
        workers = self._workers.value
        number = next((number for number, worker in workers.items() if worker.owner == owner), len(workers))
        if number == NUMBERS:  # take the one that was not used for the longest time, which is that of a dead process
            number = min(workers, key=lambda number: workers[number].mark)
        before = workers[number].mark if number in workers else now - 1
        check_clock(now, before)
        mark = max(before, now) + AHEAD
        workers[number] = Worker(owner, mark)
        await self._workers.write()
        return number, before, mark
