"""The signs of life that the event loop and the probe thread share."""

import pytest

from grange.membership.detection.liveness import MAX_PROBERS, TICK, Liveness
from grange.proto.ids import SiloAddress

PEER = SiloAddress("127.0.0.1", 11111, 7)
OTHER = SiloAddress("127.0.0.1", 11112, 7)


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def liveness(clock: Clock) -> Liveness:
    return Liveness(clock)


def test_a_loop_that_never_ticked_is_not_behind(liveness: Liveness, clock: Clock) -> None:
    clock.now += 60

    assert liveness.lag() == 0


def test_lag_is_the_time_beyond_one_tick(liveness: Liveness, clock: Clock) -> None:
    liveness.tick()
    clock.now += TICK
    assert liveness.lag() == 0

    clock.now += 6
    assert liveness.lag() == 6

    liveness.tick()
    assert liveness.lag() == 0


def test_a_probe_that_is_not_mutual_proves_nothing(liveness: Liveness, clock: Clock) -> None:
    clock.now += 1
    liveness.probe_received(PEER, mutual=False)
    clock.now += 1
    liveness.probe_received(PEER, mutual=False)

    assert liveness.contacts() == {}


def test_a_mutual_probe_proves_contact(liveness: Liveness, clock: Clock) -> None:
    clock.now += 1
    liveness.probe_received(PEER, mutual=False)
    clock.now += 1
    liveness.probe_received(PEER, mutual=True)

    assert liveness.contacts() == {PEER: 102}


def test_a_probe_that_waited_in_a_queue_during_a_stop_proves_no_current_contact(
    liveness: Liveness, clock: Clock
) -> None:
    liveness.probe_received(PEER, mutual=False)
    clock.now += 12
    liveness.probe_received(PEER, mutual=True)

    assert liveness.contacts() == {PEER: 101}


def test_a_mutual_probe_of_a_silo_that_never_probed_proves_nothing(liveness: Liveness, clock: Clock) -> None:
    clock.now += 1
    liveness.probe_received(PEER, mutual=True)

    assert liveness.contacts() == {}


def test_contact_never_goes_back(liveness: Liveness, clock: Clock) -> None:
    for seconds in (0, 1, 0):  # two in one moment: the second was delayed
        clock.now += seconds
        liveness.probe_received(PEER, mutual=True)
    assert liveness.contacts() == {PEER: 101}


def test_each_prober_proves_its_own_contact(liveness: Liveness, clock: Clock) -> None:
    for peer in (PEER, OTHER, PEER, OTHER):
        clock.now += 0.5
        liveness.probe_received(peer, mutual=True)

    assert liveness.contacts() == {PEER: 101.5, OTHER: 102.0}


def test_the_newest_version_that_any_prober_has_seen_is_kept(liveness: Liveness) -> None:
    liveness.probe_received(PEER, mutual=False, version=5)
    liveness.probe_received(OTHER, mutual=True, version=3)

    assert liveness.newest == 5


def test_probers_of_long_ago_are_forgotten(liveness: Liveness, clock: Clock) -> None:
    probers = [SiloAddress("127.0.0.1", port, 1) for port in range(1, MAX_PROBERS + 3)]
    for prober in probers:
        liveness.probe_received(prober, mutual=False)
        clock.now += 0.01
        liveness.probe_received(prober, mutual=True)
    liveness.probe_received(PEER, mutual=True)
    clock.now += 1
    liveness.probe_received(PEER, mutual=True)

    assert len(liveness.contacts()) == MAX_PROBERS
    assert PEER in liveness.contacts()
