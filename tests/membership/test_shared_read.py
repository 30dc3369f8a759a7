"""One read of the table answers all callers that ask meanwhile."""

from __future__ import annotations

import asyncio

import pytest

from grange.aio.tasks import Tasks
from grange.errors import MembershipUnavailable
from grange.membership.table.shared_read import SharedRead


class Desk:
    """Reads that end when the test says so."""

    def __init__(self) -> None:
        self.began: list[asyncio.Future[None]] = []
        self.tasks = Tasks()
        self.shared = SharedRead(self.read, self.tasks)

    async def read(self) -> None:
        end = asyncio.get_running_loop().create_future()
        self.began.append(end)
        await end

    async def ask(self, *, fresh: bool = False) -> asyncio.Task[None]:
        asked = asyncio.ensure_future(self.shared.fresh() if fresh else self.shared.joined())
        await turns()
        return asked


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_all_callers_that_ask_meanwhile_share_the_read():
    """Any number of callers, one read."""
    desk = Desk()
    asked = [await desk.ask() for _ in range(10)]
    assert len(desk.began) == 1
    desk.began[0].set_result(None)
    await asyncio.gather(*asked)
    assert len(desk.tasks) == 0


async def test_callers_of_a_fresh_read_share_the_next_one():
    """A read that began earlier proves nothing about the present."""
    desk = Desk()
    early = await desk.ask()
    late = [await desk.ask(fresh=True) for _ in range(3)]
    desk.began[0].set_exception(MembershipUnavailable("away"))
    with pytest.raises(MembershipUnavailable):
        await early
    await turns()
    assert len(desk.began) == 2
    desk.began[1].set_result(None)
    await asyncio.gather(*late)


async def test_a_read_that_was_enough_is_not_repeated():
    """The requested version came with the read that was under way."""
    desk = Desk()
    early = await desk.ask()
    late = asyncio.ensure_future(desk.shared.fresh(lambda: True))
    await turns()
    desk.began[0].set_result(None)
    await asyncio.gather(early, late)
    assert len(desk.began) == 1


async def test_a_cancelled_caller_leaves_the_others_unaffected():
    """Also when the first caller is cancelled."""
    desk = Desk()
    first, second = await desk.ask(), await desk.ask()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    desk.began[0].set_result(None)
    await second
    assert len(desk.began) == 1


async def test_a_failure_reaches_all_callers_and_the_next_reads_again(caplog):
    """No caller gets a view that was not read, and the owner of the task logs no error."""
    desk = Desk()
    asked = [await desk.ask() for _ in range(2)]
    desk.began[0].set_exception(MembershipUnavailable("away"))
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [MembershipUnavailable] * 2
    again = await desk.ask()
    desk.began[1].set_result(None)
    await again
    assert not caplog.records


async def test_callers_get_an_error_when_the_silo_stops_meanwhile():
    """A caller that was not cancelled gets an error, not a cancellation."""
    desk = Desk()
    asked = await desk.ask()
    await desk.tasks.close()
    with pytest.raises(MembershipUnavailable, match="stops"):
        await asked
