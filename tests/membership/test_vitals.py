"""The signs of life that the event loop and the probe thread share."""

import pytest

from grange.membership.vitals import KEPT, TICK, Vitals
from grange.proto.ids import SiloAddress

PEER = SiloAddress("127.0.0.1", 11111, 7)
OTHER = SiloAddress("127.0.0.1", 11112, 7)


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def vitals(clock: Clock) -> Vitals:
    return Vitals(clock)


def test_a_loop_that_never_ticked_is_not_behind(vitals: Vitals, clock: Clock) -> None:
    clock.now += 60

    assert vitals.lag() == 0


def test_lag_is_what_exceeds_one_tick(vitals: Vitals, clock: Clock) -> None:
    vitals.tick()
    clock.now += TICK
    assert vitals.lag() == 0

    clock.now += 6
    assert vitals.lag() == 6

    vitals.tick()
    assert vitals.lag() == 0


def test_the_start_counts_as_contact(vitals: Vitals, clock: Clock) -> None:
    clock.now += 5

    assert vitals.last_contact() == 100


def test_a_probe_that_is_not_mutual_proves_nothing(vitals: Vitals, clock: Clock) -> None:
    clock.now += 1
    vitals.heard(PEER, mutual=False)
    clock.now += 1
    vitals.heard(PEER, mutual=False)

    assert vitals.last_contact() == 100
    assert vitals.contacts() == {}


def test_a_mutual_probe_proves_contact(vitals: Vitals, clock: Clock) -> None:
    clock.now += 1
    vitals.heard(PEER, mutual=False)
    clock.now += 1
    vitals.heard(PEER, mutual=True)

    assert vitals.last_contact() == 102
    assert vitals.contacts() == {PEER: 102}


def test_a_probe_found_in_the_queue_after_a_stop_proves_no_contact_of_today(vitals: Vitals, clock: Clock) -> None:
    vitals.heard(PEER, mutual=False)
    clock.now += 12
    vitals.heard(PEER, mutual=True)

    assert vitals.last_contact() == 101


def test_a_mutual_probe_of_a_silo_that_never_probed_proves_nothing(vitals: Vitals, clock: Clock) -> None:
    clock.now += 1
    vitals.heard(PEER, mutual=True)

    assert vitals.last_contact() == 100


def test_contact_never_goes_back(vitals: Vitals, clock: Clock) -> None:
    for seconds in (0, 1, 0):  # two in one moment: the second was delayed
        clock.now += seconds
        vitals.heard(PEER, mutual=True)
    assert vitals.contacts() == {PEER: 101}


def test_the_last_of_all_probers_counts(vitals: Vitals, clock: Clock) -> None:
    for peer in (PEER, OTHER, PEER, OTHER):
        clock.now += 0.5
        vitals.heard(peer, mutual=True)

    assert vitals.contacts() == {PEER: 101.5, OTHER: 102.0}
    assert vitals.last_contact() == 102


def test_a_good_read_of_the_table_proves_contact_as_of_its_beginning(vitals: Vitals, clock: Clock) -> None:
    clock.now += 4
    vitals.table_read(began=103.5)
    assert vitals.last_contact() == vitals.last_read() == 103.5

    vitals.table_read(began=101)
    assert vitals.last_read() == 103.5

    vitals.table_read()
    assert vitals.last_read() == 104


def test_the_newest_version_that_any_prober_has_seen_is_kept(vitals: Vitals) -> None:
    vitals.heard(PEER, mutual=False, version=5)
    vitals.heard(OTHER, mutual=True, version=3)

    assert vitals.newest == 5


def test_probers_of_long_ago_are_forgotten(vitals: Vitals, clock: Clock) -> None:
    probers = [SiloAddress("127.0.0.1", port, 1) for port in range(1, KEPT + 3)]
    for prober in probers:
        vitals.heard(prober, mutual=False)
        clock.now += 0.01
        vitals.heard(prober, mutual=True)
    vitals.heard(PEER, mutual=True)
    clock.now += 1
    vitals.heard(PEER, mutual=True)

    assert len(vitals.contacts()) == KEPT
    assert PEER in vitals.contacts()
