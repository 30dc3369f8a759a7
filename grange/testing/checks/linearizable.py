"""I3: linearisability. Each call takes effect at one moment within its duration, in an order that explains all answers.

The search follows Wing and Gong ("Testing and verifying concurrent objects", 1993) in the just-in-time form of Lowe
("Testing for linearizability", 2017): it takes the answers in order of time, and lets a call take effect only when an
answer needs it. It is a depth-first search that tries explanations with few calls of unknown outcome first, and visits
no failed configuration twice, as Porcupine's memoisation does. A call of unknown outcome may take effect at any moment
after it was made, or never. Pure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from grange.testing.checks.history import Event, Operation, Violation, operations
from grange.testing.checks.models import Step, Value, frozen

MAX_CALLS_PER_KEY = 5_000
"""Largest number of calls per key. More are refused, because the search would take too long."""

MAX_CONFIGURATIONS = 200_000
"""Largest number of configurations per search. A history that needs more has too many unknown outcomes."""

Kind = tuple[str, Value]
"""The operation of a call with its argument. Calls of unknown outcome with the same kind are interchangeable."""


class _Call(NamedTuple):
    """One call that may have taken effect."""

    number: int
    op: str
    argument: Value
    result: Value
    known: bool
    made: float
    ended: float

    @property
    def kind(self) -> Kind:
        """The operation and its argument."""
        return (self.op, self.argument)


class _Configuration(NamedTuple):
    """A partial explanation: the state, the calls in progress that took effect, and the unknown calls used, by kind."""

    state: Value
    done: frozenset[int]
    spent: tuple[tuple[Kind, int], ...]


class _Answer(NamedTuple):
    """One answer to explain, with the calls that may take effect before it: those in progress, and unknown ones."""

    call: _Call
    in_progress: tuple[_Call, ...]
    unknown: dict[Kind, tuple[_Call, int]]


class _Visited:
    """The configurations tried for one answer."""

    def __init__(self) -> None:
        self._spent: defaultdict[tuple[Value, frozenset[int]], list[_Configuration]] = defaultdict(list)

    def add(self, configuration: _Configuration) -> bool:
        """Add a configuration. False if one with the same state, and no more unknown calls used, was tried before."""
        group = self._spent[configuration.state, configuration.done]
        if any(_spends_no_more(other, configuration) for other in group):
            return False
        group.append(configuration)
        return True


def linearizable(history: Iterable[Event], model: Step, initial: Value, ops: Iterable[str]) -> list[Violation]:
    """Check each key separately against a model of `models.py`; consider only the operations in `ops`.

    Raises ValueError for more than MAX_CALLS_PER_KEY calls of one key, and when a search needs more than
    MAX_CONFIGURATIONS.
    """
    wanted = frozenset(ops)
    by_key: defaultdict[str, list[Operation]] = defaultdict(list)
    for operation in operations(history):
        if operation.invoke.op in wanted and operation.kind != "fail":
            by_key[operation.invoke.key].append(operation)
    checked = (_check(key, by_key[key], model, initial) for key in sorted(by_key))
    return [violation for violation in checked if violation is not None]


def _check(key: str, calls: list[Operation], model: Step, initial: Value) -> Violation | None:
    if len(calls) > MAX_CALLS_PER_KEY:
        raise ValueError(f"{len(calls)} calls of {key}: at most {MAX_CALLS_PER_KEY} of one key can be checked")
    answers = _answers(calls)
    furthest = _furthest(answers, model, _Configuration(frozen(initial), frozenset(), ()))
    if furthest is None:
        return None
    index, states = furthest
    call = answers[index].call
    argument = "" if call.argument is None else f" {call.argument}"
    duration = f"{call.made:.3f}..{call.ended:.3f} s"
    text = f"{call.op}{argument} of {duration} answered {call.result}; possible: {', '.join(states)}"
    return Violation("I3", key, text)


def _answers(calls: list[Operation]) -> list[_Answer]:
    """All known answers in order of time. At one instant, beginnings precede ends, so that touching calls overlap."""
    moments: list[tuple[float, bool, _Call]] = []
    for number, operation in enumerate(calls):
        made, end = operation.invoke, operation.end
        known = operation.kind == "ok"
        ended = end.t if end is not None and known else float("inf")
        result = frozen(end.value) if end is not None and known else None
        call = _Call(number, made.op, frozen(made.value), result, known, made.t, ended)
        moments.append((made.t, False, call))
        if known:
            moments.append((ended, True, call))
    answers: list[_Answer] = []
    in_progress: dict[int, _Call] = {}
    unknown: dict[Kind, tuple[_Call, int]] = {}
    for _, is_end, call in sorted(moments, key=lambda moment: (moment[0], moment[1], moment[2].number)):
        if is_end:
            del in_progress[call.number]
            answers.append(_Answer(call, tuple(in_progress.values()), unknown))
        elif call.known:
            in_progress[call.number] = call
        else:
            unknown = {**unknown, call.kind: (call, unknown.get(call.kind, (call, 0))[1] + 1)}
    return answers


def _furthest(answers: list[_Answer], model: Step, initial: _Configuration) -> tuple[int, list[str]] | None:
    """Search for an order of the calls that explains all answers. Returns None if there is one.

    Otherwise returns the index of the first answer without an explanation, and the states that are possible before it.
    """
    visited = [_Visited() for _ in range(len(answers) + 1)]
    path: list[Iterator[_Configuration]] = [iter([initial])]
    furthest, tried = 0, 0
    states: set[str] = set()
    while path:
        index = len(path) - 1
        configuration = next(path[-1], None)
        if configuration is None:
            path.pop()
            continue
        if index == len(answers):
            return None
        if not visited[index].add(configuration):
            continue
        if index > furthest:
            furthest = index
            states.clear()
        if index == furthest:
            states.add(str(configuration.state))
        path.append(iter(_after(configuration, answers[index], model)))
        tried += 1
        if tried > MAX_CONFIGURATIONS:
            raise ValueError(
                f"more than {MAX_CONFIGURATIONS} orders of the calls were tried: too many unknown outcomes"
            )
    return furthest, sorted(states)[:5]


def _after(start: _Configuration, answer: _Answer, model: Step) -> list[_Configuration]:
    """The configurations after this answer, fewest unknown calls first.

    Between `start` and the answer, only calls that the answer needs take effect.
    """
    target = answer.call
    if target.number in start.done:
        return [_Configuration(start.state, start.done - {target.number}, start.spent)]
    reached: list[_Configuration] = []
    seen = _Visited()
    seen.add(start)
    waiting = [start]
    for here in waiting:  # the loop extends this list
        possible, state = model(here.state, target.op, target.argument, target.result, True)
        if possible:
            reached.append(_Configuration(state, here.done, here.spent))
        waiting.extend(later for later in _steps(here, answer, model) if seen.add(later))
    return sorted(reached, key=lambda configuration: sum(count for _, count in configuration.spent))


def _steps(now: _Configuration, answer: _Answer, model: Step) -> Iterator[_Configuration]:
    """Let one more call take effect before the answer. An unknown call that changes no state is skipped."""
    for call in answer.in_progress:
        if call.number not in now.done:
            possible, state = model(now.state, call.op, call.argument, call.result, True)
            if possible:
                yield _Configuration(state, now.done | {call.number}, now.spent)
    spent = dict(now.spent)
    for kind, (call, count) in answer.unknown.items():
        if spent.get(kind, 0) < count:
            _, state = model(now.state, call.op, call.argument, None, False)
            if state != now.state:
                increased = {**spent, kind: spent.get(kind, 0) + 1}
                yield _Configuration(state, now.done, tuple(sorted(increased.items(), key=repr)))


def _spends_no_more(one: _Configuration, other: _Configuration) -> bool:
    budget = dict(other.spent)
    return all(count <= budget.get(kind, 0) for kind, count in one.spent)
