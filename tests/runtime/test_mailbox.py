"""The admission rule, compared with a naive model that follows the docstring of the mailbox."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from grange.runtime.activations.mailbox import Mailbox


@dataclass(eq=False)
class Asked:
    """A request as the mailbox sees it."""

    read_only: bool = False
    always_interleave: bool = False
    interleaves: bool = False
    in_thread: bool = False


REQUESTS = st.builds(Asked, st.booleans(), st.booleans(), st.booleans(), st.sampled_from([False, False, False, True]))


def allowed(request: Asked, running: list[Asked], reentrant: bool) -> bool:
    """The rule as documented, without any shortcut."""
    in_the_way = [other for other in running if not other.always_interleave]
    if running and (request.in_thread or any(other.in_thread for other in running)):
        return False
    return (
        not running
        or request.always_interleave
        or not in_the_way
        or reentrant
        or (request.read_only and all(other.read_only for other in in_the_way))
        or request.interleaves
        or all(other.interleaves for other in in_the_way)
    )


class MailboxAgainstModel(RuleBasedStateMachine):
    """Drives a mailbox as an activation does, with plain lists as the model."""

    @initialize(reentrant=st.booleans())
    def start(self, reentrant: bool) -> None:
        self.reentrant = reentrant
        self.mailbox = Mailbox(reentrant)
        self.running: list[Asked] = []
        self.waiting: list[Asked] = []
        self.seen: set[Asked] = set()

    @rule(request=REQUESTS)
    def arrive(self, request: Asked) -> None:
        """A request runs at once if and only if the rule allows it."""
        may_run = self.mailbox.may_run(request)
        assert may_run == allowed(request, self.running, self.reentrant)
        if may_run:
            self._runs(request)
        else:
            self._waits(request)

    @rule(request=REQUESTS)
    def arrive_while_nothing_may_start(self, request: Asked) -> None:
        """As during activation: every request is queued, even one that could overtake all others."""
        self._waits(request)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def end_one(self, data: st.DataObject) -> None:
        ended = data.draw(st.sampled_from(self.running))
        self.running.remove(ended)
        self.mailbox.end(ended)
        self._serve()

    @rule()
    def serve(self) -> None:
        self._serve()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def give_up_one(self, data: st.DataObject) -> None:
        dropped = data.draw(st.sampled_from(self.waiting))
        self.waiting.remove(dropped)
        assert self.mailbox.drop(dropped)
        assert not self.mailbox.drop(dropped)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def what_runs_cannot_be_dropped(self, data: st.DataObject) -> None:
        assert not self.mailbox.drop(data.draw(st.sampled_from(self.running)))

    @rule()
    def take_everything(self) -> None:
        assert self.mailbox.take_all() == self.waiting
        self.waiting = []

    @invariant()
    def it_knows_what_runs_and_waits(self) -> None:
        assert list(self.mailbox.running) == self.running
        assert list(self.mailbox.waiting or ()) == self.waiting
        assert self.mailbox.depth == len(self.waiting)
        assert self.mailbox.idle == (not self.running and not self.waiting)
        assert [self.mailbox.position(request) for request in self.waiting] == list(range(len(self.waiting)))
        assert all(self.mailbox.position(request) is None for request in self.running)

    @invariant()
    def an_empty_queue_is_given_back(self) -> None:
        """A million idle activations must not keep a million empty queues."""
        if not self.waiting:
            assert self.mailbox.waiting is None

    def _serve(self) -> None:
        """`next` returns the first request that may run, while there is one."""
        while True:
            expected = next((r for r in self.waiting if allowed(r, self.running, self.reentrant)), None)
            given = self.mailbox.next()
            assert given is expected
            if expected is None:
                return
            self.waiting.remove(expected)
            self._runs(expected)

    def _runs(self, request: Asked) -> None:
        self.mailbox.start(request)
        self.running.append(request)

    def _waits(self, request: Asked) -> None:
        assert request not in self.seen
        self.seen.add(request)
        self.mailbox.wait(request)
        self.waiting.append(request)


TestMailboxAgainstModel = MailboxAgainstModel.TestCase


def test_ordinary_requests_are_served_in_order() -> None:
    mailbox, requests = Mailbox(), [Asked() for _ in range(5)]
    mailbox.start(requests[0])
    for request in requests[1:]:
        mailbox.wait(request)
    served = []
    for request in requests[:-1]:
        mailbox.end(request)
        taken = mailbox.next()
        assert taken is not None
        mailbox.start(taken)
        assert mailbox.next() is None
        served.append(taken)
    assert served == requests[1:]


def test_readers_overtake_a_waiting_writer_only_while_readers_run() -> None:
    """A request that may run overtakes those that may not."""
    mailbox, reader, writer, late = Mailbox(), Asked(read_only=True), Asked(), Asked(read_only=True)
    mailbox.start(reader)
    mailbox.wait(writer)
    mailbox.wait(late)
    assert mailbox.next() is late
    mailbox.start(late)
    mailbox.end(reader)
    assert mailbox.next() is None
    mailbox.end(late)
    assert mailbox.next() is writer


@pytest.mark.parametrize("eager", [Asked(always_interleave=True), Asked(interleaves=True)])
def test_what_queued_before_the_grain_was_ready_overtakes_a_running_turn(eager: Asked) -> None:
    """An interleaving timer tick may be queued during activation; the turn that starts first must not block it."""
    mailbox, first, second = Mailbox(), Asked(), Asked()
    for request in (first, second, eager):
        mailbox.wait(request)
    assert mailbox.next() is first
    mailbox.start(first)
    assert mailbox.next() is eager
    mailbox.start(eager)
    assert mailbox.next() is None


def test_a_long_queue_behind_one_turn_is_not_searched() -> None:
    """Otherwise each end of a turn would cost time in proportion to the queue."""

    class Counting(Mailbox):
        __slots__ = ("asked",)

        def may_run(self, request: object) -> bool:
            self.asked += 1
            return super().may_run(request)  # type: ignore[arg-type]

    mailbox = Counting()
    mailbox.asked = 0
    mailbox.start(Asked())
    for _ in range(1000):
        mailbox.wait(Asked(read_only=True))
    assert mailbox.next() is None
    assert mailbox.asked == 0
    for leave in (mailbox.next, mailbox.take_all):
        mailbox.wait(Asked(interleaves=True))
        leave()
        mailbox.asked = 0
        mailbox.wait(Asked(read_only=True))
        assert mailbox.next() is None
        assert mailbox.asked == 0, "what overtakes is gone again"
