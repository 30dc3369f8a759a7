"""Which request waits for which, as several silos say it, and the cycles in that. Pure.

A node is a request whose turn runs or that waits for its turn, or a hook of an activation. A turn waits for the calls
that it awaits, and a request for the turns that are in its way: each for *all* of them. So a cycle never ends by
itself, and a wait, once seen, lasts until one of its two ends is gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from grange.proto.ids import SiloAddress
from grange.proto.waits import Arrival, Detects, Wait

Node = tuple[str, str]
"""The address of a silo as text, and the name of a `Wait` there."""

Cycle = tuple[Node, ...]
"""Nodes, each of which waits for the next, and the last for the first. The victim is the last one."""


class WaitGraph:
    """What one look has found so far. `add` and `found` fill it, `cycle_through` and `victim` read it."""

    def __init__(self) -> None:
        self.waits: dict[Node, Wait] = {}
        self._arrived: dict[Arrival, Node | None] = {}

    def add(self, silo: SiloAddress, waits: Iterable[Wait]) -> None:
        """Add nodes of a silo. What is known already stays as it was seen first."""
        for wait in waits:
            self.waits.setdefault((str(silo), wait.name), wait)

    def found(self, arrival: Arrival, name: str) -> None:
        """The silo `arrival.to` says which node this request is; empty: it knows none."""
        self._arrived[arrival] = (str(arrival.to), name) if name else None

    def open_ends(self) -> dict[SiloAddress, list[Arrival]]:
        """The requests that are waited for and of which nothing is known yet, by the silo that has them."""
        ends: dict[SiloAddress, list[Arrival]] = {}
        for wait in self.waits.values():
            for arrival in wait.there:
                if arrival not in self._arrived:
                    self._arrived[arrival] = None
                    ends.setdefault(arrival.to, []).append(arrival)
        return ends

    def followers(self, silo: str, wait: Wait) -> Iterator[Node]:
        """The nodes that this one of a silo waits for, as far as they are known."""
        for name in wait.here:
            yield silo, name
        for arrival in wait.there:
            if (there := self._arrived.get(arrival)) is not None:
                yield there

    def cycle_through(self, start: Node) -> Cycle | None:
        """The shortest cycle that leads from this node back to it, with its victim last; None: there is none."""
        before: dict[Node, Node] = {}
        queue = [start]
        for node in queue:  # grows while it is read
            for other in self.followers(node[0], self.waits[node]) if node in self.waits else ():
                if other == start:
                    return self._from_victim(_path(before, start, node))
                if other not in before:
                    before[other] = node
                    queue.append(other)
        return None

    def _from_victim(self, path: list[Node]) -> Cycle:
        """The same cycle with its victim at the end, which all silos choose alike."""
        at = path.index(max(path, key=self._preference))
        return (*path[at + 1 :], *path[: at + 1])

    def _preference(self, node: Node) -> tuple[bool, int, Node]:
        """One that can be let pass needs no refusal. A class that has the detection off gets none."""
        wait = self.waits[node]
        return wait.held_back, _WILLING[wait.detects] if wait.waits else -1, node


_WILLING = {Detects.OFF: 0, Detects.WARN: 1, Detects.ON: 2}


def _path(before: dict[Node, Node], start: Node, end: Node) -> list[Node]:
    path = [end]
    while path[-1] != start:
        path.append(before[path[-1]])
    return path[::-1]


def words(waits: Iterable[Wait]) -> str:
    """A cycle for people: `a/1.m -> b/2.n (waits for its turn) -> a/1.m`."""
    steps = [f"{each.grain}.{each.method}{' (waits for its turn)' if each.waits else ''}" for each in waits]
    return " -> ".join(steps)
