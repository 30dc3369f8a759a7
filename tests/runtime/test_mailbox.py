"""The admission rule, compared with a naive model that follows the docstring of the mailbox."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from grange.proto.chain import LINK, section_link, with_turn
from grange.runtime.activations.mailbox import Mailbox


@dataclass(eq=False)
class Asked:
    """A request as the mailbox sees it."""

    read_only: bool = False
    always_interleave: bool = False
    interleaves: bool = False
    alone: bool = False
    chain: bytes = b""
    onward: bytes = b""
    sections: tuple[bytes, ...] = ()
    overtakes: bool = False
    eager: bool = False  # of the model: it overtook writers at the moment at which it was queued


LINKS = [with_turn(b"", number) for number in range(1, 4)] + [section_link(number) for number in range(1, 4)]
"""Few, so that many requests belong together."""

CHAINS = st.lists(st.sampled_from(LINKS), max_size=2).map(b"".join)
SECTIONS = st.lists(st.sampled_from(LINKS[3:]), max_size=1).map(tuple)
THREADS = st.sampled_from([False, False, False, True])
REQUESTS = st.builds(
    Asked, st.booleans(), st.booleans(), st.booleans(), THREADS, CHAINS, st.sampled_from([b"", *LINKS[:3]]), SECTIONS
)


def fits(request: Asked, running: list[Asked], reentrant: bool) -> bool:
    """Whether the running requests let this one run, without any shortcut."""
    if running and (request.alone or any(other.alone for other in running)):
        return False
    return (
        not running
        or reentrant
        or request.always_interleave
        or request.interleaves
        or any(section in links(request) for other in running for section in other.sections)
        or all(
            other.always_interleave or other.interleaves or (request.read_only and other.read_only) for other in running
        )
    )


def stays_behind(request: Asked, waiting: list[Asked], running: list[Asked]) -> bool:
    """Whether the request is a reader with a writer before it, and no running turn waits for it."""
    writers = [each for each in waiting if not (each.read_only or each.always_interleave or each.interleaves)]
    return bool(writers) and request.read_only and not overtakes(request, running)


def overtakes(request: Asked, running: list[Asked]) -> bool:
    """Whether the request need not stay behind a writer."""
    mine = {link for other in running for link in (other.onward, *other.sections)} - {b""}
    return request.always_interleave or request.interleaves or request.overtakes or bool(mine & links(request))


def links(request: Asked) -> set[bytes]:
    return {request.chain[at : at + LINK] for at in range(0, len(request.chain), LINK)}


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
        expected = fits(request, self.running, self.reentrant)
        assert may_run == (expected and not stays_behind(request, self.waiting, self.running))
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
            able = [r for r in self.waiting if fits(r, self.running, self.reentrant)]
            expected = next((r for r in able if r is self.waiting[0] or r.eager), None)
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
        request.eager = overtakes(request, self.running)
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


def test_a_stream_of_readers_does_not_starve_a_writer() -> None:
    mailbox, reader, writer, late = Mailbox(), Asked(read_only=True), Asked(), Asked(read_only=True)
    mailbox.start(reader)
    mailbox.wait(writer)
    assert not mailbox.may_run(late)
    mailbox.wait(late)
    assert mailbox.blockers(late) == [writer]
    assert mailbox.blockers(writer) == [reader]
    assert mailbox.next() is None
    mailbox.end(reader)
    assert mailbox.next() is writer
    mailbox.start(writer)
    assert mailbox.next() is None
    mailbox.end(writer)
    assert mailbox.next() is late


def test_readers_before_a_writer_run_together() -> None:
    mailbox, writer, later = Mailbox(), Asked(), Asked()
    readers = [Asked(read_only=True) for _ in range(3)]
    mailbox.start(writer)
    for request in (*readers, later):
        mailbox.wait(request)
    mailbox.end(writer)
    for reader in readers:
        assert mailbox.next() is reader
        mailbox.start(reader)
    assert mailbox.next() is None


def test_a_reader_that_a_running_turn_waits_for_does_not_stay_behind_a_writer() -> None:
    """Else the writer waits for the turn, that for the reader, and that for the writer."""
    turn = Asked(read_only=True, onward=LINKS[0])
    mailbox, writer = Mailbox(), Asked()
    mailbox.start(turn)
    mailbox.wait(writer)
    assert mailbox.may_run(Asked(read_only=True, chain=LINKS[0] + LINKS[1]))
    assert not mailbox.may_run(Asked(read_only=True, chain=LINKS[1]))
    assert not mailbox.may_run(Asked(chain=LINKS[0]))


def test_a_reader_may_be_told_to_overtake() -> None:
    mailbox, reader, writer, late = Mailbox(), Asked(read_only=True), Asked(), Asked(read_only=True)
    mailbox.start(reader)
    mailbox.wait(writer)
    mailbox.wait(late)
    mailbox.let_overtake(late)
    assert mailbox.blockers(late) == []
    assert mailbox.next() is late


def test_only_the_chain_of_an_open_section_comes_back() -> None:
    """REE-06: a section admits its own chain, while it is open, beside a turn that takes nothing else."""
    mailbox, turn, back = Mailbox(), Asked(onward=LINKS[0], sections=(LINKS[3],)), Asked(chain=LINKS[3])
    mailbox.start(turn)
    assert mailbox.may_run(back)
    assert mailbox.blockers(back) == []
    assert not mailbox.may_run(Asked(chain=LINKS[4]))
    assert not mailbox.may_run(Asked(chain=LINKS[0])), "a chain without the section"
    turn.sections = ()
    assert not mailbox.may_run(back)
    assert mailbox.blockers(back) == [turn]


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

        def _fits(self, request: object) -> bool:
            self.asked += 1
            return super()._fits(request)  # type: ignore[arg-type]

    mailbox = Counting()
    mailbox.asked = 0
    mailbox.start(Asked())
    for _ in range(1000):
        mailbox.wait(Asked(read_only=True))
    assert mailbox.next() is None
    assert mailbox.asked == 1
    for leave in (mailbox.next, mailbox.take_all):
        mailbox.wait(Asked(interleaves=True))
        leave()
        mailbox.asked = 0
        mailbox.wait(Asked(read_only=True))
        assert mailbox.next() is None
        assert mailbox.asked == 1, "what overtakes is gone again"
