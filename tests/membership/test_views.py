"""Views are published in order, once, and never backwards."""

from __future__ import annotations

import asyncio

from grange.membership.model.member import View
from grange.membership.table.views import Views


def test_an_older_or_equal_view_is_not_published():
    views, seen = Views(), []
    views.subscribe(lambda view: seen.append(view.version))
    results = [views.publish(View(version)) for version in (0, 2, 2, 1, 5)]
    assert results == [False, True, False, False, True]
    assert seen == [2, 5]
    assert views.current.version == 5


def test_every_subscriber_is_called_even_if_another_fails(caplog):
    """The failure is logged with the version; subscribers are called in the order of subscription."""
    views, seen = Views(), []

    def fail(view: View) -> None:
        seen.append("fail")
        raise RuntimeError("a bug of a subscriber")

    views.subscribe(fail)
    views.subscribe(lambda view: seen.append("hear"))
    views.publish(View(3))
    assert seen == ["fail", "hear"]
    assert "version 3" in caplog.text
    assert "a bug of a subscriber" in caplog.text


def test_an_ended_subscription_is_not_called():
    views, seen = Views(), []

    def hear(view: View) -> None:
        seen.append(view.version)

    unsubscribe = views.subscribe(hear)
    views.publish(View(1))
    unsubscribe()
    views.subscribe(hear)
    unsubscribe()
    views.publish(View(2))
    assert seen == [1, 2]


def test_a_subscriber_may_unsubscribe_during_its_call():
    views, seen = Views(), []
    ends = [views.subscribe(lambda view: ends[0]()), views.subscribe(lambda view: seen.append(view.version))]
    views.publish(View(1))
    assert seen == [1]


async def test_waiting_for_a_change_or_for_a_predicate():
    views = Views()
    changed = asyncio.ensure_future(views.changed())
    fits = asyncio.ensure_future(views.wait_for(lambda view: view.version >= 2))
    await asyncio.sleep(0)
    views.publish(View(1))
    assert (await changed).version == 1
    assert not fits.done()
    views.publish(View(2))
    assert (await fits).version == 2
    assert (await views.wait_for(lambda view: view.version == 2)).version == 2
