"""I3: there is an order of the calls, each at one moment between its beginning and its end, that explains every answer.

The search follows Wing and Gong ("Testing and verifying concurrent objects", 1993) in the just-in-time form of Lowe
("Testing for linearizability", 2017): from answer to answer, a call takes effect no sooner than an answer needs it. It
goes depth first, towards explanations that use few calls of unknown outcome, and never twice through what was in vain
before, as Porcupine's memoisation does. A call of unknown outcome may take effect at any moment after it was made, or
never. Pure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from grange.testing.checks.history import Event, Operation, Violation, operations
from grange.testing.checks.models import Step, Value, frozen

LIMIT = 5_000
"""Calls per key: more than this is refused, because a history is only worth what can be searched."""

CONFIGURATIONS = 200_000
"""Configurations after which a search is given up: a history of so many unknown outcomes proves nothing."""


Kind = tuple[str, Value]
"""What a call does: unknown ones that do the same are interchangeable once they were made."""


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
        """What it does."""
        return (self.op, self.argument)


class _Configuration(NamedTuple):
    """One explanation so far: the state, which calls under way took effect, and how many unknown ones of each kind."""

    state: Value
    done: frozenset[int]
    spent: tuple[tuple[Kind, int], ...]


class _Answer(NamedTuple):
    """One answer to explain, with what may take effect before it: calls under way, and unknown ones made by then."""

    call: _Call
    under_way: tuple[_Call, ...]
    unknown: dict[Kind, tuple[_Call, int]]


class _Visited:
    """The configurations that one answer was tried with."""

    def __init__(self) -> None:
        self._spent: defaultdict[tuple[Value, frozenset[int]], list[_Configuration]] = defaultdict(list)

    def add(self, configuration: _Configuration) -> bool:
        """False when one like it, with no more unknown calls spent, was tried already."""
        group = self._spent[configuration.state, configuration.done]
        if any(_spends_no_more(other, configuration) for other in group):
            return False
        group.append(configuration)
        return True


def linearizable(history: Iterable[Event], model: Step, initial: Value, ops: Iterable[str]) -> list[Violation]:
    """Check each key by itself against a model of `models.py`, looking only at the calls named in `ops`.

    Raises ValueError for more than LIMIT calls of one key, and when a search would need too many configurations.
    """
    wanted = frozenset(ops)
    by_key: defaultdict[str, list[Operation]] = defaultdict(list)
    for operation in operations(history):
        if operation.invoke.op in wanted and operation.kind != "fail":
            by_key[operation.invoke.key].append(operation)
    found = (_check(key, by_key[key], model, initial) for key in sorted(by_key))
    return [violation for violation in found if violation is not None]


def _check(key: str, calls: list[Operation], model: Step, initial: Value) -> Violation | None:
    if len(calls) > LIMIT:
        raise ValueError(f"{len(calls)} calls of {key}: at most {LIMIT} of one key can be searched")
    answers = _answers(calls)
    furthest = _furthest(answers, model, _Configuration(frozen(initial), frozenset(), ()))
    if furthest is None:
        return None
    at, states = furthest
    call = answers[at].call
    asked = "" if call.argument is None else f" {call.argument}"
    when = f"{call.made:.3f}..{call.ended:.3f} s"
    return Violation("I3", key, f"{call.op}{asked} of {when} answered {call.result}; possible: {', '.join(states)}")


def _answers(calls: list[Operation]) -> list[_Answer]:
    """Every known answer in the order of time; at one instant a beginning counts as first, so that calls overlap."""
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
    under_way: dict[int, _Call] = {}
    unknown: dict[Kind, tuple[_Call, int]] = {}
    for _, is_end, call in sorted(moments, key=lambda moment: (moment[0], moment[1], moment[2].number)):
        if is_end:
            del under_way[call.number]
            answers.append(_Answer(call, tuple(under_way.values()), unknown))
        elif call.known:
            under_way[call.number] = call
        else:
            unknown = {**unknown, call.kind: (call, unknown.get(call.kind, (call, 0))[1] + 1)}
    return answers


def _furthest(answers: list[_Answer], model: Step, initial: _Configuration) -> tuple[int, list[str]] | None:
    """None when all answers can be explained; else the first that cannot, and the states it might have met."""
    visited = [_Visited() for _ in range(len(answers) + 1)]
    path: list[Iterator[_Configuration]] = [iter([initial])]
    furthest, tried = 0, 0
    states: set[str] = set()
    while path:
        at = len(path) - 1
        now = next(path[-1], None)
        if now is None:
            path.pop()
            continue
        if at == len(answers):
            return None
        if not visited[at].add(now):
            continue
        if at > furthest:
            furthest = at
            states.clear()
        if at == furthest:
            states.add(str(now.state))
        path.append(iter(_after(now, answers[at], model)))
        tried += 1
        if tried > CONFIGURATIONS:
            raise ValueError(f"more than {CONFIGURATIONS} ways to explain this history: too many unknown outcomes")
    return furthest, sorted(states)[:5]


def _after(start: _Configuration, answer: _Answer, model: Step) -> list[_Configuration]:
    """The configurations in which the answer was given, with no more before it than it needs; cheapest first."""
    target = answer.call
    if target.number in start.done:
        return [_Configuration(start.state, start.done - {target.number}, start.spent)]
    reached: list[_Configuration] = []
    seen = _Visited()
    seen.add(start)
    waiting = [start]
    for here in waiting:  # which grows while it is read
        possible, state = model(here.state, target.op, target.argument, target.result, True)
        if possible:
            reached.append(_Configuration(state, here.done, here.spent))
        waiting.extend(nearer for nearer in _steps(here, answer, model) if seen.add(nearer))
    return sorted(reached, key=lambda each: sum(count for _, count in each.spent))


def _steps(now: _Configuration, answer: _Answer, model: Step) -> Iterator[_Configuration]:
    """One more call before the answer. An unknown one that would change nothing is not taken."""
    for call in answer.under_way:
        if call.number not in now.done:
            possible, state = model(now.state, call.op, call.argument, call.result, True)
            if possible:
                yield _Configuration(state, now.done | {call.number}, now.spent)
    spent = dict(now.spent)
    for kind, (call, count) in answer.unknown.items():
        if spent.get(kind, 0) < count:
            _, state = model(now.state, call.op, call.argument, None, False)
            if state != now.state:
                more = {**spent, kind: spent.get(kind, 0) + 1}
                yield _Configuration(state, now.done, tuple(sorted(more.items(), key=repr)))


def _spends_no_more(one: _Configuration, other: _Configuration) -> bool:
    budget = dict(other.spent)
    return all(count <= budget.get(kind, 0) for kind, count in one.spent)
