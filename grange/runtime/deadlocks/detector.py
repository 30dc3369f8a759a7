"""Looks for cycles of waits, across silos, and ends them: one request of each is refused with `DeadlockError`.

A look starts at the turns that are in the way of a request. It follows what they wait for, and asks other silos to go
on where that leads to them. The answers come one after the other, so what one look has put together may never have
been true at once. A cycle counts when two looks have seen it with the same requests: a wait does not come back once it
has ended, so between the two looks all of them were true together. Then no silo can have been too slow to tell, and
the cycle lasts, because each of its members needs all that it waits for.

All silos on a cycle see the same cycle and choose the same victim. Only the silo of the victim acts, after it has
looked once more that the request still waits for the same.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

import msgspec

from grange.errors import DeadlockError, GrangeError
from grange.observability.events import Events
from grange.observability.turn_events import DeadlockFound
from grange.proto.ids import SiloAddress
from grange.proto.message import Reason
from grange.proto.waits import WAITS, Arrival, Detects, Wait, WaitsAnswer, WaitsQuestion
from grange.runtime.activations.activation import Activation
from grange.runtime.deadlocks.graph import Cycle, WaitGraph, words
from grange.runtime.deadlocks.local_waits import Explored, LocalWaits, Waiter
from grange.runtime.requests.invocation import Invocation
from grange.runtime.requests.refusal import Refused
from grange.runtime.system_target import Ask, SystemTargets

log = logging.getLogger("grange.runtime")

PERIOD = 0.5
"""Seconds between two looks, and for which a request must have waited before one starts at it. The second look of a
cycle comes so after 1 to 1.5 s of waiting."""

ASK_TIMEOUT = 0.4
"""Seconds for one silo to answer. The waits of a silo that does not answer are not known to this look."""

MOST_HOPS = 32
"""Most times that a look goes on to other silos: the longest cycle that is found."""

MOST_SUSPECTS = 500
"""Most activations at which one look starts; the next look starts at the others."""

MOST_ASKED = 1000
"""Most requests that one question names."""

MOST_REMEMBERED = 1000
"""Most cycles that are remembered for the next look, and most that are remembered as reported."""

REMEDY = (
    "let the chain back in by `with allow_reentrancy():`, mark the method @read_only or @always_interleave, or make "
    "one of the calls one-way"
)

VERSION_REMEDY = (
    "it needs a version of the interface that this silo has not, so it waits until the activation here has ended; have "
    "all calls of such a circle need one version"
)


_encode = msgspec.msgpack.Encoder().encode
_question = msgspec.msgpack.Decoder(WaitsQuestion).decode
_answer = msgspec.msgpack.Decoder(WaitsAnswer).decode


class DeadlockDetector:
    """The looks of one silo. `run` is its task; it answers other silos also where it is off."""

    def __init__(self, me: SiloAddress, local: LocalWaits, ask: Ask, events: Events) -> None:
        self._me = me
        self._local = local
        self._ask = ask
        self._events = events
        self._seen: dict[Cycle, None] = {}  # by the looks so far, for as long as there is room
        self._reported: dict[Cycle, None] = {}
        self._offset = 0

    def serve(self, targets: SystemTargets) -> None:
        """Answer the questions of other silos."""
        targets.serve(WAITS, self.answer)

    async def run(self) -> None:
        """Look once per period, for the life of the silo."""
        while True:
            await asyncio.sleep(PERIOD)
            await self.look()

    async def look(self) -> None:
        """Follow the waits from here once, and end the cycles that were seen before."""
        suspects = self._suspects()
        if not suspects:
            return
        starts: list[Waiter] = []
        for activation in suspects:
            starts += activation.running or (activation,)
        graph = WaitGraph()
        explored = self._local.explore(starts)
        graph.add(self._me, explored.waits)
        await self._follow(graph)
        for cycle in self._cycles(graph, explored):
            if cycle in self._seen:
                self._end(graph, cycle)
            else:
                _remember(self._seen, cycle)

    async def answer(self, question: bytes) -> bytes:
        """`system_target.Answer`: what the requests in the question wait for."""
        arrivals = _question(question).arrivals[:MOST_ASKED]
        names, explored = self._here(arrivals)
        return _encode(WaitsAnswer(names, explored.waits))

    def _suspects(self) -> list[Activation]:
        """The activations to start at: if there are too many, those after the ones of the look before."""
        suspects = [each for each in self._local.suspects(PERIOD) if each.hosted.detects is not Detects.OFF]
        if len(suspects) <= MOST_SUSPECTS:
            return suspects
        self._offset = (self._offset + MOST_SUSPECTS) % len(suspects)
        return (suspects[self._offset :] + suspects)[:MOST_SUSPECTS]

    async def _follow(self, graph: WaitGraph) -> None:
        """Add to the graph what other silos know."""
        for _ in range(MOST_HOPS):
            ends = graph.open_ends()
            if not ends:
                return
            here = ends.pop(self._me, [])
            names, explored = self._here(here)
            _add(graph, self._me, here, WaitsAnswer(names, explored.waits))
            await asyncio.gather(*(self._ask_silo(graph, silo, arrivals) for silo, arrivals in ends.items()))

    async def _ask_silo(self, graph: WaitGraph, silo: SiloAddress, arrivals: list[Arrival]) -> None:
        asked = arrivals[:MOST_ASKED]
        try:
            answer = _answer(await self._ask(silo, WAITS, _encode(WaitsQuestion(asked)), ASK_TIMEOUT))
        except (GrangeError, msgspec.MsgspecError) as error:  # it is gone, too busy, or of an earlier version
            log.debug("silo %s does not tell its waits: %s", silo, error)
        else:
            _add(graph, silo, asked, answer)

    def _here(self, arrivals: list[Arrival]) -> tuple[list[str], Explored]:
        calls = [self._local.arrived(each.source, each.id) if each.to == self._me else None for each in arrivals]
        explored = self._local.explore([call for call in calls if call is not None])
        return ["" if call is None else self._local.name(call) for call in calls], explored

    def _cycles(self, graph: WaitGraph, explored: Explored) -> Iterator[Cycle]:
        cycles = (graph.cycle_through((str(self._me), name)) for name in explored.waiters)
        return iter(dict.fromkeys(cycle for cycle in cycles if cycle is not None))

    def _end(self, graph: WaitGraph, cycle: Cycle) -> None:
        """End a cycle whose victim waits here."""
        silo = cycle[-1][0]
        waits = [graph.waits[node] for node in cycle]
        victim = waits[-1]
        if silo != str(self._me) or not victim.waits or (call := self._still(graph, cycle)) is None:
            return
        activation = call.holder
        assert isinstance(activation, Activation), "a request that waits for a turn waits at an activation"
        if victim.held_back:
            activation.let_overtake(call)
            return
        if victim.detects is Detects.ON:
            self._report(call, waits, "its call fails with DeadlockError")
            activation.turn_away(call, _refusal(call, waits))
        elif victim.detects is Detects.WARN and cycle not in self._reported:
            _remember(self._reported, cycle)
            self._report(call, waits, "it waits on, because detect_deadlocks is 'warn'")

    def _still(self, graph: WaitGraph, cycle: Cycle) -> Invocation | None:
        """The victim, if it still waits behind the same turn, and that for the same; else the answers are stale."""
        call = self._local.waiting(cycle[-1][1])
        if call is None:
            return None
        now = {(str(self._me), wait.name): wait for wait in self._local.explore([call]).waits}
        kept = all(
            node in now and following in graph.followers(node[0], now[node])
            for node, following in ((cycle[-1], cycle[0]), (cycle[0], cycle[1]))
        )
        return call if kept else None

    def _report(self, call: Invocation, waits: list[Wait], outcome: str) -> None:
        cycle = words(waits)
        self._events.publish(DeadlockFound(call.grain_id.type, str(call.grain_id), call.method, cycle, outcome))


def _refusal(call: Invocation, waits: list[Wait]) -> Refused:
    """The refusal of the victim, which is the last of these."""
    assert isinstance(call.holder, Activation), "a request that waits for a turn waits at an activation"
    is_served = not call.interface_version or call.holder.hosted.serves(call.interface_version)
    remedy = REMEDY if is_served else VERSION_REMEDY
    text = f"{call.grain_id}.{call.method} was not executed, because it waits for itself: {words(waits)}; {remedy}"
    cause = DeadlockError(text, tuple((each.grain, each.method) for each in waits))
    return Refused(Reason.CANCELLED, text, cause=cause, counted="deadlock")


def _add(graph: WaitGraph, silo: SiloAddress, arrivals: list[Arrival], answer: WaitsAnswer) -> None:
    graph.add(silo, answer.waits)
    for arrival, name in zip(arrivals, answer.names, strict=False):
        graph.found(arrival, name)


def _remember(cycles: dict[Cycle, None], cycle: Cycle) -> None:
    if len(cycles) >= MOST_REMEMBERED:
        del cycles[next(iter(cycles))]
    cycles[cycle] = None
