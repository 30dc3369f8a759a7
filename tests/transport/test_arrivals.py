"""The limits of connections and handshakes of one port (S6, F36)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grange.errors import HandshakeRefused
from grange.transport.arrivals import IDENTITY, TOO_MANY, Arrival, Arrivals, counted_address, host_of
from grange.transport.options import TransportOptions

HERE, THERE = "10.0.0.5", "10.0.0.6"


class Port:
    """Arrivals with small limits, and what they did."""

    def __init__(self, **limits: int) -> None:
        small = {"connections": 10, "connections_per_address": 5, "handshakes": 6, "handshakes_per_address": 3}
        self.arrivals = Arrivals(TransportOptions(**(small | limits)))  # type: ignore[arg-type]
        self.arrivals.on_refused = lambda reason, address: self.told.append((reason, address))
        self.told: list[tuple[str, str]] = []
        self.ended: list[str] = []
        self._names: Iterator[int] = iter(range(10**6))

    def arrive(self, address: str = HERE, *, greeted: bool = False) -> Arrival:
        name = f"{address}/{next(self._names)}"
        arrival = self.arrivals.arrive(address, lambda refused: self._end(name, refused))
        if greeted:
            arrival.greeted()
        return arrival

    def _end(self, name: str, refused: HandshakeRefused) -> None:
        assert refused.code == TOO_MANY
        assert refused.retry_after > 0
        self.ended.append(name)


def test_a_port_takes_no_more_connections_than_its_limit() -> None:
    port = Port(connections_per_address=100)
    held = [port.arrive(greeted=True) for _ in range(10)]
    with pytest.raises(HandshakeRefused, match="10 connections; try again in 1 s") as caught:
        port.arrive(THERE)
    assert (caught.value.code, caught.value.retry_after) == (TOO_MANY, 1.0)
    held[0].gone()
    port.arrive(THERE)
    assert port.arrivals.figures.refused == {"connections": 1}
    assert port.told == [("connections", THERE)]


def test_the_files_of_the_process_are_a_limit_too() -> None:
    arrivals = Arrivals(TransportOptions(), most=1)
    arrivals.arrive(HERE, lambda _: None)
    with pytest.raises(HandshakeRefused):
        arrivals.arrive(THERE, lambda _: None)


def test_one_address_leaves_room_for_others() -> None:
    port = Port()
    for _ in range(5):
        port.arrive(greeted=True)
    with pytest.raises(HandshakeRefused, match=r"10\.0\.0\.5 has 5 connections"):
        port.arrive()
    port.arrive(THERE)
    assert port.arrivals.figures.refused == {"address-connections": 1}


def test_an_address_that_the_network_does_not_tell_has_no_limit_of_its_own() -> None:
    port = Port(handshakes=100)
    for _ in range(10):
        port.arrive("")
    assert port.ended == []


def test_the_oldest_silent_handshake_makes_room_for_a_new_one() -> None:
    port = Port(handshakes_per_address=100)
    first = port.arrive("a")
    for _ in range(6):
        port.arrive("b" if len(port.ended) else "c")
        if port.arrivals.connections == 5:
            break
    port.arrive("d", greeted=True)
    assert port.ended == []
    for address in ("e", "f"):
        port.arrive(address)
    assert port.ended == ["a/0"]
    assert port.arrivals.handshakes == 6
    assert port.arrivals.connections == 8  # what was ended is open until it is gone
    first.gone()
    assert port.arrivals.connections == 7
    assert port.told == [("handshakes", "a")]


def test_a_handshake_makes_room_for_another_of_its_own_address_only() -> None:
    port = Port(connections_per_address=10)
    port.arrive(THERE)
    for _ in range(4):
        port.arrive()
    assert port.ended == [f"{HERE}/1"]
    assert port.arrivals.figures.refused == {"address-handshakes": 1}


def test_a_greeted_connection_is_no_handshake() -> None:
    port = Port()
    for _ in range(5):
        port.arrive(greeted=True)
    assert (port.arrivals.handshakes, port.ended) == (0, [])
    assert port.arrivals.figures.handshakes == 0


def test_refusals_for_other_reasons_are_counted() -> None:
    port = Port()
    port.arrive().refused("malformed")
    port.arrive().refused(TOO_MANY)
    assert port.arrivals.figures.refused == {"malformed": 1, IDENTITY: 1}
    assert (port.arrivals.handshakes, port.arrivals.connections) == (0, 2)
    assert port.told == []


def test_what_has_gone_counts_no_more_however_often_it_goes() -> None:
    port = Port()
    arrival = port.arrive()
    arrival.gone()
    arrival.gone()
    arrival.greeted()
    assert (port.arrivals.connections, port.arrivals.handshakes) == (0, 0)
    assert port.arrivals._sources == {}


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["arrive", "greet", "go"])), max_size=60))
def test_no_limit_is_ever_exceeded_and_nothing_is_kept(steps: list[tuple[str, str]]) -> None:
    port = Port(connections=7, connections_per_address=4, handshakes=4, handshakes_per_address=2)
    held: dict[str, list[Arrival]] = {"a": [], "b": [], "c": []}
    for address, step in steps:
        if step == "arrive":
            try:
                held[address].append(port.arrive(address))
            except HandshakeRefused:
                full = sum(map(len, held.values())) >= 7 or len(held[address]) >= 4
                assert full
        elif held[address]:
            arrival = held[address].pop(0)
            arrival.greeted()
            if step == "go":
                arrival.gone()
            else:
                held[address].append(arrival)
        assert port.arrivals.connections == sum(map(len, held.values())) <= 7
        assert port.arrivals.handshakes <= 4
    for arrivals in held.values():
        for arrival in arrivals:
            arrival.gone()
    assert (port.arrivals.connections, port.arrivals.handshakes, port.arrivals._sources) == (0, 0, {})


@pytest.mark.parametrize(
    ("host", "counted"),
    [
        ("10.0.0.5", "10.0.0.5"),
        ("::ffff:10.0.0.5", "10.0.0.5"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("", ""),
        ("host", ""),
    ],
)
def test_addresses_are_counted_by_network(host: str, counted: str) -> None:
    assert counted_address(host) == counted


@pytest.mark.parametrize(
    ("peer", "host"),
    [
        ("ipv4:127.0.0.1:4711", "127.0.0.1"),
        ("ipv6:%5B::1%5D:4711", "::1"),
        ("ipv6:[2001:db8::5]:4711", "2001:db8::5"),
        ("unix:/tmp/x", ""),
        ("", ""),
    ],
)
def test_the_host_is_found_in_the_name_of_a_peer(peer: str, host: str) -> None:
    assert host_of(peer) == host
