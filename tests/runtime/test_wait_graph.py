"""Cycles of waits, as several silos tell them."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from grange.proto.ids import SiloAddress
from grange.proto.waits import Arrival, Detects, Wait, WaitsAnswer
from grange.runtime.deadlocks.graph import WaitGraph, words

SILOS = [SiloAddress("10.0.0.1", port, 1) for port in (1, 2, 3)]
NAMES = st.sampled_from("abc")
PLACES = st.tuples(st.sampled_from(SILOS), NAMES)
EDGES = st.lists(st.tuples(PLACES, PLACES), max_size=12, unique=True)


def graph_of(edges: list[tuple[tuple[SiloAddress, str], tuple[SiloAddress, str]]], **options: object) -> WaitGraph:
    """A graph whose edges between silos are requests."""
    graph = WaitGraph()
    ends: dict[Arrival, str] = {}
    for place in dict.fromkeys(each for edge in edges for each in edge):
        here = [to[1] for at, to in edges if at == place and to[0] == place[0]]
        there = []
        for number, (at, to) in enumerate(edges):
            if at == place and to[0] != place[0]:
                arrival = Arrival(at[0], to[0], number)
                there.append(arrival)
                ends[arrival] = to[1]
        options.setdefault("waits", True)
        graph.add(place[0], [Wait(place[1], f"g/{place[1]}", "m", here=here, there=there, **options)])  # type: ignore[arg-type]
    opened = graph.open_ends()
    assert {arrival for each in opened.values() for arrival in each} == set(ends)
    assert graph.open_ends() == {}, "each is asked about once"
    for arrival, name in ends.items():
        graph.found(arrival, name)
    return graph


def reaches(edges: list[tuple[tuple[SiloAddress, str], tuple[SiloAddress, str]]], start: object) -> bool:
    """Whether a way leads from a node back to it."""
    seen: set[object] = set()
    left = [to for at, to in edges if at == start]
    while left:
        node = left.pop()
        if node not in seen:
            seen.add(node)
            left += [to for at, to in edges if at == node]
    return start in seen


@given(EDGES)
def test_a_cycle_is_found_if_and_only_if_there_is_one(
    edges: list[tuple[tuple[SiloAddress, str], tuple[SiloAddress, str]]],
) -> None:
    graph = graph_of(edges)
    for place in {each for edge in edges for each in edge}:
        cycle = graph.cycle_through((str(place[0]), place[1]))
        assert (cycle is not None) == reaches(edges, place)
        if cycle is not None:
            assert len(set(cycle)) == len(cycle)
            assert (str(place[0]), place[1]) in cycle
            pairs = zip(cycle, (*cycle[1:], cycle[0]), strict=True)
            assert all(((at, to) in [(_node(a), _node(b)) for a, b in edges]) for at, to in pairs)


def _node(place: tuple[SiloAddress, str]) -> tuple[str, str]:
    return str(place[0]), place[1]


@given(EDGES)
def test_all_silos_choose_the_same_victim(edges: list[tuple[tuple[SiloAddress, str], tuple[SiloAddress, str]]]) -> None:
    """Wherever the search starts on a cycle, it gives the same one, with the same end."""
    graph = graph_of(edges)
    cycles = [graph.cycle_through(_node(each)) for each in {each for edge in edges for each in edge}]
    by_members = {}
    for cycle in filter(None, cycles):
        assert by_members.setdefault(frozenset(cycle), cycle)[-1] == cycle[-1]


def cycle_of(*waits: Wait) -> tuple[str, ...]:
    """The names on the cycle of these, each of which waits for the next."""
    graph = WaitGraph()
    around = zip(waits, (*waits[1:], waits[0]), strict=True)
    graph.add(SILOS[0], [msgspec.structs.replace(wait, here=[following.name]) for wait, following in around])
    cycle = graph.cycle_through((str(SILOS[0]), waits[0].name))
    assert cycle is not None
    return tuple(name for _, name in cycle)


def wait(name: str, waits: bool = True, detects: Detects = Detects.ON, held_back: bool = False) -> Wait:
    return Wait(name, f"g/{name}", "m", waits, detects=detects, held_back=held_back)


def test_only_a_request_that_waits_is_a_victim() -> None:
    assert cycle_of(wait("z", waits=False), wait("a"), wait("y", waits=False)) == ("y", "z", "a")


def test_a_class_that_has_it_off_gives_no_victim_if_another_can() -> None:
    assert cycle_of(wait("z", detects=Detects.OFF), wait("a"), wait("y", detects=Detects.WARN))[-1] == "a"
    assert cycle_of(wait("z", detects=Detects.OFF), wait("y", detects=Detects.WARN))[-1] == "y"


def test_a_reader_that_can_be_let_pass_is_preferred() -> None:
    assert cycle_of(wait("a", held_back=True, detects=Detects.OFF), wait("z"))[-1] == "a"


def test_what_a_silo_does_not_know_leads_nowhere() -> None:
    graph = WaitGraph()
    arrival = Arrival(SILOS[0], SILOS[1], 1)
    graph.add(SILOS[0], [Wait("a", "g/a", "m", there=[arrival])])
    assert graph.open_ends() == {SILOS[1]: [arrival]}
    graph.found(arrival, "")
    assert graph.cycle_through((str(SILOS[0]), "a")) is None


def test_what_was_seen_first_counts() -> None:
    """Later answers of the same look must not mix with it: a wait is seen once in each look."""
    graph = WaitGraph()
    graph.add(SILOS[0], [Wait("a", "g/a", "m", here=["b"]), Wait("b", "g/b", "m")])
    graph.add(SILOS[0], [Wait("b", "g/b", "m", here=["a"])])
    assert graph.cycle_through((str(SILOS[0]), "a")) is None


def test_a_cycle_in_words() -> None:
    cycle = [Wait("1", "cart/ann", "pay"), Wait("2", "order/7", "check"), Wait("3", "cart/ann", "total", True)]
    assert words(cycle) == "cart/ann.pay -> order/7.check -> cart/ann.total (waits for its turn)"


@given(st.binary(max_size=200))
def test_other_bytes_are_no_answer(data: bytes) -> None:
    try:
        msgspec.msgpack.decode(data, type=WaitsAnswer)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return
