"""The state machine of the self-fence, event by event, and its invariants under random histories."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from grange.membership.fencing.fence_state import (
    GRACE_AFTER_PAUSE,
    SILENT_INTERVALS,
    Action,
    Ended,
    EndGate,
    EndProcess,
    ExtendGate,
    FenceGate,
    FenceState,
    FetchView,
    GateExamined,
    Heard,
    OpenGate,
    PauseGate,
    Phase,
    SetTimer,
    StartProofSearch,
    SweepAnswered,
    TableRead,
    Tick,
    ViewChanged,
)
from grange.membership.fencing.proofs import watchers_of
from grange.membership.model.member import Member, SiloStatus, View, make_view
from grange.membership.model.options import MembershipOptions
from grange.proto.ids import SiloAddress
from grange.runtime.gate import Gate

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OPTIONS = MembershipOptions()
FENCE_AFTER, PAUSE_GAP = OPTIONS.fence_after, OPTIONS.pause_gap
ACTIVE, LEAVING, JOINING, DEAD = SiloStatus.ACTIVE, SiloStatus.LEAVING, SiloStatus.JOINING, SiloStatus.DEAD
ME, B, C, D = SILOS = tuple(SiloAddress("127.0.0.1", 11111 + number, 1) for number in range(4))


def view(*others: SiloAddress, version: int = 7, own: SiloStatus = ACTIVE) -> View:
    return make_view(version, (Member(silo, own if silo == ME else ACTIVE, NOW, NOW) for silo in (ME, *others)))


def state(*others: SiloAddress, own: SiloStatus = ACTIVE) -> FenceState:
    """A fence that ticked at time 0 for the first time, in a view with these other silos."""
    made = FenceState(ME, OPTIONS, 0.0)
    made.step(0.0, ViewChanged(view(*others, own=own)))
    made.step(0.0, Tick())
    return made


def tick_until(machine: FenceState, start: float, end: float) -> list[Action]:
    """Tick each 0.25 s; returns the actions."""
    actions: list[Action] = []
    for number in range(1, int((end - start) / 0.25) + 1):
        actions += machine.step(start + number * 0.25, Tick())
    return actions


def of_kind(actions: Sequence[Action], *kinds: type) -> list[Action]:
    return [action for action in actions if isinstance(action, kinds)]


def fenced(*others: SiloAddress) -> FenceState:
    """A fence that closed its gate after `fence_after`, after the start as the only proof."""
    made = state(*others)
    tick_until(made, 0.0, FENCE_AFTER)
    assert made.phase is Phase.FENCED
    return made


def paused(*others: SiloAddress) -> FenceState:
    """A fence that found at 2 s that the process had stood still since 0.5 s."""
    made = state(*others)
    tick_until(made, 0.0, 0.5)
    made.step(2.0, GateExamined())
    assert made.phase is Phase.PAUSED
    return made


# --- closing ----------------------------------------------------------------------------------------------------------


def test_an_open_gate_is_extended_by_each_tick_up_to_the_pause_gap() -> None:
    assert of_kind(state(B).step(0.25, Tick()), ExtendGate) == [ExtendGate(0.25 + PAUSE_GAP)]


def test_an_open_gate_is_never_extended_beyond_the_time_of_the_fence() -> None:
    machine = state(B)
    assert of_kind(tick_until(machine, 0.0, 2.5), ExtendGate)[-1] == ExtendGate(FENCE_AFTER)


def test_without_a_proof_the_gate_is_fenced_and_a_search_starts_afresh() -> None:
    machine = state(B)
    tick_until(machine, 0.0, FENCE_AFTER - 0.25)
    actions = machine.step(FENCE_AFTER, GateExamined())
    assert actions == [FenceGate(FENCE_AFTER), StartProofSearch(afresh=True)]
    assert machine.fenced_at == FENCE_AFTER
    assert machine.step(FENCE_AFTER + 0.1, GateExamined()) == []


def test_the_timer_is_set_to_the_time_of_the_fence_and_ends_with_it() -> None:
    machine = state(B)
    assert of_kind(machine.step(0.25, Tick()), SetTimer) == [SetTimer(FENCE_AFTER)]
    tick_until(machine, 0.25, FENCE_AFTER)
    assert of_kind(machine.step(3.0, Tick()), SetTimer) == [SetTimer(math.inf)]


@pytest.mark.parametrize("newcomers", [(C, C), (C, D)], ids=["the same silos", "another second watcher each time"])
def test_newer_views_do_not_put_off_the_fence(newcomers: tuple[SiloAddress, ...]) -> None:
    """B watches in all of them, and is not heard in any. A view comes each second."""
    machine = state(B, newcomers[0])
    closings: list[float] = []
    for number in range(1, 21):
        now = number * 0.25
        if now.is_integer():
            machine.step(now, ViewChanged(view(B, newcomers[int(now) % 2], version=7 + number)))
        closings += [now for _ in of_kind(machine.step(now, Tick()), FenceGate)]
    assert closings == [FENCE_AFTER]


@pytest.mark.parametrize(("others", "own"), [((), ACTIVE), ((B,), JOINING), ((B,), DEAD)])
def test_a_silo_from_which_no_other_can_take_over_is_not_fenced(
    others: tuple[SiloAddress, ...], own: SiloStatus
) -> None:
    machine = state(*others, own=own)
    assert not of_kind(tick_until(machine, 0.0, 60.0), FenceGate, PauseGate)
    assert machine.phase is Phase.OPEN


def test_a_leaving_silo_is_fenced() -> None:
    machine = state(B, own=LEAVING)
    assert of_kind(tick_until(machine, 0.0, 3.0), FenceGate)


def test_a_silent_watcher_starts_a_search() -> None:
    machine = state(B, C)
    late = SILENT_INTERVALS * OPTIONS.probe_interval
    assert not of_kind(tick_until(machine, 0.0, late), StartProofSearch)
    assert of_kind(machine.step(late + 0.01, Tick()), StartProofSearch) == [StartProofSearch(afresh=False)]
    machine.step(late + 0.02, Heard({B: late, C: late}))
    assert not machine.needs_proof(late + 0.02)


def test_a_stop_of_the_process_pauses_the_gate_before_any_timer() -> None:
    machine = state(B)
    tick_until(machine, 0.0, 0.5)
    assert machine.step(1.5, GateExamined()) == [ExtendGate(1.5)]
    assert machine.step(1.51, GateExamined()) == [PauseGate(1.51 - 0.5), StartProofSearch(afresh=True)]


def test_time_before_the_first_tick_is_no_pause() -> None:
    machine = FenceState(ME, OPTIONS, 0.0)
    assert not of_kind(machine.step(30.0, Tick()), PauseGate)
    assert of_kind(machine.step(32.0, Tick()), PauseGate)


def test_a_pause_becomes_a_fence_after_its_grace() -> None:
    machine = state(B)
    assert of_kind(machine.step(10.0, Tick()), PauseGate, FenceGate) == [PauseGate(10.0)]
    assert of_kind(machine.step(10.0 + GRACE_AFTER_PAUSE - 0.01, GateExamined()), FenceGate) == []
    assert of_kind(machine.step(10.0 + GRACE_AFTER_PAUSE, GateExamined()), FenceGate)
    assert machine.phase is Phase.FENCED


def test_a_pause_of_a_silo_alone_never_becomes_a_fence() -> None:
    machine = state()
    machine.step(10.0, Tick())
    tick_until(machine, 10.0, 70.0)
    assert machine.phase is Phase.PAUSED


def test_a_silo_that_loses_all_watchers_keeps_their_last_proof() -> None:
    """The remaining active silos have other silos to watch, because leaving silos keep their places on the rings."""
    crowd = tuple(SiloAddress("127.0.0.1", 11112 + number, 1) for number in range(7))
    watchers = watchers_of(ME, view(*crowd), OPTIONS)
    machine = state(*crowd)
    machine.step(2.0, Heard(dict.fromkeys(watchers, 2.0)))
    tick_until(machine, 0.0, 2.5)
    members = (Member(silo, LEAVING if silo in watchers else ACTIVE, NOW, NOW) for silo in (ME, *crowd))
    machine.step(2.5, ViewChanged(make_view(8, members)))
    tick_until(machine, 2.5, 4.0)
    assert machine.phase is Phase.OPEN
    assert machine.until == 2.0 + FENCE_AFTER
    assert machine.needs_proof(4.0)


# --- opening ----------------------------------------------------------------------------------------------------------


def test_a_table_read_after_the_pause_opens_the_gate() -> None:
    assert paused(B).step(2.1, TableRead(2.0, may_work=True)) == [OpenGate(2.0 + PAUSE_GAP, None)]


def test_a_table_read_after_the_fence_opens_the_gate_and_tells_how_long_it_was_closed() -> None:
    machine = fenced(B)
    opened = machine.step(4.0, TableRead(3.0, may_work=True))
    assert opened == [OpenGate(FENCE_AFTER + PAUSE_GAP, 4.0 - FENCE_AFTER)]
    assert machine.fenced_at is None


@pytest.mark.parametrize("closed", [paused, fenced])
def test_a_table_that_does_not_count_on_the_silo_opens_nothing(closed) -> None:
    machine = closed(B)
    assert machine.step(4.0, TableRead(3.9, may_work=False)) == []
    assert machine.table_answered_since(3.9)
    assert not machine.table_answered_since(4.0)


@pytest.mark.parametrize("closed", [paused, fenced])
def test_a_proof_asked_for_before_the_gate_closed_opens_nothing(closed) -> None:
    machine = closed(B)
    assert machine.step(4.0, TableRead(1.9, may_work=True)) == []
    assert machine.step(4.0, SweepAnswered(1.9, (B,), {B: 7}, complete=True)) == []


def test_a_proof_asked_for_between_pause_and_fence_opens_the_gate() -> None:
    machine = paused(B)
    tick_until(machine, 2.0, 3.0)
    assert machine.phase is Phase.FENCED
    assert of_kind(machine.step(3.1, TableRead(2.0, may_work=True)), OpenGate)


def test_a_second_pause_needs_a_second_proof() -> None:
    machine = fenced(B)
    assert of_kind(machine.step(10.0, Tick()), PauseGate)
    assert machine.phase is Phase.FENCED
    assert machine.step(10.1, TableRead(9.9, may_work=True)) == []
    assert of_kind(machine.step(10.2, TableRead(10.0, may_work=True)), OpenGate)


def test_an_older_read_does_not_replace_a_newer_one() -> None:
    machine = state(B)
    tick_until(machine, 0.0, 0.75)
    machine.step(1.0, TableRead(0.9, may_work=True))
    machine.step(1.1, TableRead(0.4, may_work=True))
    tick_until(machine, 0.75, 0.9 + FENCE_AFTER - 0.25)
    assert machine.until == 0.9 + FENCE_AFTER


def test_probes_alone_do_not_open_a_closed_gate() -> None:
    machine = fenced(B)
    machine.step(3.0, Heard({B: 3.0}))
    assert not of_kind(machine.step(3.0, Tick()), OpenGate)
    assert machine.phase is Phase.FENCED


def test_a_sweep_opens_a_closed_gate_only_when_all_silos_were_asked() -> None:
    machine = fenced(B, C)
    assert machine.step(4.0, SweepAnswered(3.0, (B, C), {B: 7}, complete=False)) == []
    assert of_kind(machine.step(4.0, SweepAnswered(3.0, (B, C), {B: 7}, complete=True)), OpenGate)


def test_the_first_majority_of_a_sweep_keeps_an_open_gate_open() -> None:
    machine = state(B, C)
    tick_until(machine, 0.0, 2.5)
    machine.step(2.6, SweepAnswered(2.5, (B, C), {B: 7}, complete=False))
    assert not of_kind(tick_until(machine, 2.5, 5.0), FenceGate)


def test_a_sweep_counts_from_the_time_at_which_it_asked() -> None:
    machine = state(B, C)
    tick_until(machine, 0.0, 2.5)
    machine.step(2.6, SweepAnswered(2.0, (B, C), {B: 7, C: 7}, complete=True))
    tick_until(machine, 2.5, 4.5)
    assert machine.until == 2.0 + FENCE_AFTER


def test_a_minority_proves_nothing() -> None:
    machine = fenced(B, C, D)
    assert machine.step(4.0, SweepAnswered(3.0, (B, C, D), {B: 7}, complete=True)) == []


def test_a_newer_view_is_fetched_from_the_silo_that_has_seen_the_newest() -> None:
    machine = fenced(B, C, D)
    newer = {B: 8, C: 9, D: 7}
    assert machine.step(4.0, SweepAnswered(3.0, (B, C, D), newer, complete=False)) == []
    assert machine.step(4.0, SweepAnswered(3.0, (B, C, D), newer, complete=True)) == [FetchView(C)]
    machine.step(4.1, ViewChanged(view(B, C, D, version=9)))
    assert of_kind(machine.step(4.2, SweepAnswered(3.0, (B, C, D), newer, complete=True)), OpenGate)


# --- ending -----------------------------------------------------------------------------------------------------------


def test_a_silo_that_is_fenced_for_longer_than_the_limit_gives_up_once() -> None:
    machine = fenced(B)
    actions = tick_until(machine, FENCE_AFTER, FENCE_AFTER + OPTIONS.fence_limit + 60)
    ends = of_kind(actions, EndGate, EndProcess)
    assert [type(action) for action in ends] == [EndGate, EndProcess]
    assert machine.phase is Phase.ENDED


def test_an_ended_fence_keeps_its_gate_closed() -> None:
    machine = fenced(B)
    assert machine.step(4.0, Ended("stopped")) == [EndGate("stopped")]
    assert machine.step(4.1, TableRead(4.0, may_work=True)) == []
    assert machine.step(4.1, SweepAnswered(4.0, (B,), {B: 7}, complete=True)) == []
    assert machine.step(5.0, Tick()) == machine.step(9.0, GateExamined()) == []
    assert machine.step(9.0, Ended("declared dead")) == [EndGate("declared dead")]


# --- invariants -------------------------------------------------------------------------------------------------------


class FenceHistory(RuleBasedStateMachine):
    """Random events on one fence and a real gate. The test keeps its own record of proofs, closings and ticks."""

    @initialize()
    def start(self) -> None:
        self.now = 100.0
        self.gate = Gate(lambda: self.now)
        self.state = FenceState(ME, OPTIONS, self.now)
        self.view = View(0)
        self.contacts: dict[SiloAddress, float] = {}
        self.watching_since: dict[SiloAddress, float] = {}
        self.ticked = self.now
        self.proofs = [self.now]  # lower bounds of what proves membership; each at the time it was asked for
        self.questions: list[float] = []
        self.closed_since: float | None = None
        self.searched_afresh = -math.inf
        self.gave_up = 0
        self.ended = False
        self.gate.on_expired(lambda: self.step(GateExamined()))
        self.change_view(others=frozenset({B, C}), own=ACTIVE)
        self.tick()

    def step(self, event, opening_proof: float | None = None) -> list[Action]:
        self.state.step(self.now, Heard(dict(self.contacts)))
        actions = self.state.step(self.now, event)
        for action in actions:
            match action:
                case PauseGate():
                    self.gate.pause()
                    self.ticked = self.now  # the gap is known from now on
                    self.closed_since = self.now  # what was asked for before this stop proves nothing
                case FenceGate():
                    assert self.state.others
                    self.gate.fence("fenced")
                    self.closed_since = self.now if self.closed_since is None else self.closed_since
                case EndGate(reason):
                    self.gate.fence(reason)
                    self.ended = True
                case OpenGate(until, _):
                    assert not self.ended
                    assert self.gate.closed
                    assert opening_proof is not None
                    assert self.closed_since is not None
                    assert opening_proof >= self.closed_since
                    self.gate.open(until)
                    self.closed_since = None
                case ExtendGate(until):
                    assert not self.gate.closed
                    self.gate.extend(until)
                case StartProofSearch(afresh=True):
                    self.searched_afresh = self.now
                case EndProcess():
                    self.gave_up += 1
                case _:
                    pass
        return actions

    @rule(seconds=st.sampled_from([0.001, 0.1, 0.25, 0.25, 0.25, 0.7, 1.0, 1.01, 3.0, 301.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def tick(self) -> None:
        actions = self.step(Tick())
        self.ticked = self.now
        if self.gate.closed and not self.ended:
            assert of_kind(actions, StartProofSearch)

    @rule(ticks=st.integers(1, 12), views=st.booleans())
    def tick_for_a_while(self, ticks: int, views: bool) -> None:
        """With `views`, a newer view with the same silos comes before each tick: it proves nothing."""
        for _ in range(ticks):
            self.now += 0.25
            if views:
                self.view = make_view(self.view.version + 1, self.view.members)
                self.step(ViewChanged(self.view))
            self.tick()
            self.no_turn_starts_without_a_recent_proof()

    @rule(silos=st.sets(st.sampled_from(SILOS[1:])))
    def probes_come(self, silos: set[SiloAddress]) -> None:
        self.contacts |= dict.fromkeys(silos, self.now)

    @rule(others=st.frozensets(st.sampled_from(SILOS[1:])), own=st.sampled_from([ACTIVE, ACTIVE, LEAVING, JOINING]))
    def change_view(self, others: frozenset[SiloAddress], own: SiloStatus) -> None:
        """Only a new watcher has time from now on to be heard. Each active silo watches, because they are so few."""
        self.view = view(*sorted(others), version=self.view.version + 1, own=own)
        watchers = watchers_of(ME, self.view, OPTIONS) if own in (ACTIVE, LEAVING) else frozenset[SiloAddress]()
        self.watching_since = {silo: self.watching_since.get(silo, self.now) for silo in watchers}
        self.step(ViewChanged(self.view))

    @rule()
    def ask(self) -> None:
        self.questions.append(self.now)

    @precondition(lambda self: self.questions)
    @rule(data=st.data(), may_work=st.booleans())
    def the_table_answers(self, data: st.DataObject, may_work: bool) -> None:
        asked = data.draw(st.sampled_from(self.questions))
        actions = self.step(TableRead(asked, may_work), asked if may_work else None)
        if may_work:
            self.proofs.append(asked)
        else:
            assert not of_kind(actions, OpenGate)

    @precondition(lambda self: self.questions)
    @rule(data=st.data(), complete=st.booleans(), newer=st.booleans())
    def silos_answer(self, data: st.DataObject, complete: bool, newer: bool) -> None:
        asked, others = data.draw(st.sampled_from(self.questions)), self.state.others
        answering = data.draw(st.sets(st.sampled_from(others))) if others else set()
        answers = dict.fromkeys(answering, self.view.version + newer)
        majority = 2 * (len(answers) + 1) > len(others) + 1 and not (newer and answers)
        actions = self.step(SweepAnswered(asked, others, answers, complete), asked if majority and complete else None)
        if majority:
            self.proofs.append(asked)
        assert bool(of_kind(actions, FetchView)) <= (complete and newer)

    @rule()
    def a_turn_comes(self) -> None:
        """As in `Gate.passage`, which asks again until the gate is closed or its time is moved on."""
        if self.gate.clock() > self.gate.until and not self.gate.closed:
            self.step(GateExamined())
            assert self.gate.closed or self.gate.clock() <= self.gate.until

    @precondition(lambda self: not self.ended)
    @rule(really=st.integers(0, 9))
    def end(self, really: int) -> None:
        if not really:
            self.step(Ended("it stopped"))

    @invariant()
    def no_turn_starts_without_a_recent_proof(self) -> None:
        if self.now > self.gate.until:
            return
        assert not self.ended
        assert self.now <= self.ticked + PAUSE_GAP
        if self.state.others:
            heard = min(max(since, self.contacts.get(silo, since)) for silo, since in self.watching_since.items())
            assert self.now <= max(*self.proofs, heard) + FENCE_AFTER

    @invariant()
    def the_phase_is_the_state_of_the_gate(self) -> None:
        assert self.gate.closed == (self.state.phase is not Phase.OPEN)
        assert (self.gate.fenced is not None) == (self.state.phase in (Phase.FENCED, Phase.ENDED))
        assert self.ended == (self.state.phase is Phase.ENDED)

    @invariant()
    def a_closed_gate_is_searched_for_a_proof(self) -> None:
        """By a search that started after the closing: an older one asks for what proves nothing any more."""
        if self.gate.closed and not self.ended:
            assert self.closed_since is not None
            assert self.searched_afresh >= self.closed_since

    @invariant()
    def it_gives_up_at_most_once(self) -> None:
        assert self.gave_up <= 1
        assert self.ended or not self.gave_up


FenceHistory.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestFenceHistory = FenceHistory.TestCase
