"""Crashes are found by refused connections and by processes that are gone, on several agents in virtual time."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from grange.errors import DeclaredDead
from grange.membership.detection.crash_detector import ports_of
from grange.membership.model.evidence import Evidence
from grange.membership.model.member import Member, SiloStatus
from grange.membership.model.messages import LOOK_SERVICE
from grange.membership.model.options import MembershipOptions
from grange.membership.model.provider import Row, Table, table_version
from grange.membership.table.transitions import Crash, declare_crashed
from tests.membership.cluster import PROBE, START, Cluster, Silo, address, cluster, member

DEAD = SiloStatus.DEAD
HOLD = MembershipOptions().refusal_hold
AT_ONCE = 0.3
"""Seconds from a lost connection to the death: two looks, 0.25 s apart."""


async def row_of(c: Cluster, silo: Silo) -> Member:
    row = (await c.table.read()).get(silo.address)
    assert row is not None
    return row.member


async def seconds_until_dead(c: Cluster, silo: Silo, within: float = 20.0) -> float:
    began = c.time.time()
    async with asyncio.timeout(within):
        while await c.status(silo.address) is not DEAD:
            await asyncio.sleep(0.01)
    return c.time.time() - began


def lose(silo: Silo, *observers: Silo) -> None:
    """Tell the observers that their connections to this silo broke."""
    for observer in observers:
        observer.agent.on_contact_lost(silo.address)


async def test_two_silos_that_are_refused_declare_a_death_at_once() -> None:
    """R5: without missed probes, and with a hold until the silo, if it lives, must have fenced itself."""
    async with cluster(apart=True) as c:
        victim, one, other = await c.joined(3)
        await victim.crash()
        lose(victim, one, other)
        assert await seconds_until_dead(c, victim) <= AT_ONCE
        dead = await row_of(c, victim)
        assert dead.hold == HOLD
        assert {vote.voter for vote in dead.votes} == {one.address, other.address}
        assert dead.written is not None
        assert dead.written.why.startswith(Evidence.REFUSED)


async def test_a_missed_probe_begins_a_look() -> None:
    """Also without a connection that could break."""
    async with cluster(apart=True) as c:
        victim, *_ = await c.joined(3)
        await victim.crash()
        assert await seconds_until_dead(c, victim) <= c.options.probe_interval + AT_ONCE


async def test_one_observer_alone_declares_nothing() -> None:
    """A firewall refuses the packets of one silo; another silo reaches the suspect: no silo dies."""
    async with cluster(apart=True) as c:
        victim, one, _ = await c.joined(3)
        c.network.reject(one.address, victim.address)
        lose(victim, one)
        await c.time.advance(60.0)
        assert await c.status(victim.address) is SiloStatus.ACTIVE
        assert await c.status(one.address) is SiloStatus.ACTIVE


async def test_of_two_silos_neither_declares_a_death_by_a_refusal_alone() -> None:
    """One observer alone must wait until the other silo must have fenced itself; then exactly one dies."""
    async with cluster(apart=True) as c:
        victim, one = await c.joined(2)
        c.network.reject(one.address, victim.address)
        lose(victim, one)
        lose(one, victim)
        await c.time.advance(c.options.vote_after - 0.1)
        assert not (await c.table.read()).get(victim.address).member.votes
        await c.time.advance(5.0)
        dead = [silo for silo in (victim, one) if await c.status(silo.address) is DEAD]
        assert len(dead) == 1
        assert (await row_of(c, dead[0])).hold is None


async def test_observers_on_one_host_are_one_observer() -> None:
    """Two silos behind one broken network see the same refusals: they are not independent."""
    async with cluster() as c:
        victim, one, other = await c.joined(3)
        await victim.crash()
        lose(victim, one, other)
        assert await seconds_until_dead(c, victim) >= c.options.vote_after
        assert (await row_of(c, victim)).hold is None


async def test_two_of_three_observers_that_share_a_host_are_one() -> None:
    """The third reaches the suspect, so it lives."""
    async with cluster(apart=True) as c:
        c.together = {1, 2}
        victim, one, other, _ = await c.joined(4)
        for observer in (one, other):
            c.network.reject(observer.address, victim.address)
        lose(victim, one, other)
        await c.time.advance(c.options.vote_after - 0.1)
        assert not (await row_of(c, victim)).votes
        looks = [(asker, asked) for asker, asked, service in c.network.asked if service == LOOK_SERVICE]
        assert looks
        assert (one.address, other.address) not in looks, "its answer counts for nothing"


async def test_refusals_to_silos_that_do_not_probe_it_are_no_evidence() -> None:
    """R5: a silo that they declared dead would still hear the probes of another one, and start turns after its hold."""
    async with cluster(MembershipOptions(probed_silos=1), apart=True) as c:
        victim, *others = await c.joined(4)
        not_probing = [silo for silo in others if victim.address not in silo.agent.probed]
        assert len(not_probing) == 2
        for observer in not_probing:
            c.network.reject(observer.address, victim.address)
        lose(victim, *not_probing)
        await c.time.advance(10.0)
        assert await c.status(victim.address) is SiloStatus.ACTIVE


@pytest.mark.parametrize("port", [0, PROBE])
async def test_every_port_must_refuse(port: int) -> None:
    """A port that closes while the process lives is no crash: then only silence is seen."""
    async with cluster(apart=True) as c:
        victim, one, other = await c.joined(3)
        c.network.open.add((victim.address.host, victim.address.port + port))
        await victim.crash()
        lose(victim, one, other)
        assert await seconds_until_dead(c, victim) >= c.options.vote_after
        assert (await row_of(c, victim)).hold is None


def test_the_ports_with_tls_must_refuse_too() -> None:
    silo = replace(member(address(1)), probe=2, tls=3, probe_tls=4, road=5, gateway=6)
    assert ports_of(silo) == (silo.address.port, 2, 3, 4)
    assert ports_of(replace(silo, probe=0, tls=silo.address.port, probe_tls=0)) == (silo.address.port,)


async def test_a_silo_on_the_host_of_the_suspect_finds_its_process_gone_for_another_silo() -> None:
    """It proves more than the refusal that the asking silo has seen: no hold."""
    async with cluster(apart=True, one_host=True) as c:
        c.together = {0, 1}
        victim, neighbour, one = await c.joined(3)
        neighbour.agent._peers.on_missed = lambda _: None  # it does not look by itself
        await victim.crash()
        lose(victim, one)
        assert await seconds_until_dead(c, victim) <= AT_ONCE
        dead = await row_of(c, victim)
        assert dead.hold == 0.0
        assert {vote.voter for vote in dead.votes} == {one.address, neighbour.address}


async def test_the_last_bytes_of_a_process_that_is_gone_withhold_no_vote() -> None:
    async with cluster(one_host=True) as c:
        victim, one, _ = await c.joined(3)
        await victim.crash()
        c.network.heard[victim.address, one.address] = c.time.time() + 100.0
        lose(victim, one)
        assert await seconds_until_dead(c, victim) < 0.1


async def test_a_silo_on_the_same_host_finds_the_process_gone() -> None:
    """One vote of such a silo is a proof, so there is nothing to wait for: no hold."""
    async with cluster(one_host=True) as c:
        victim, one, _ = await c.joined(3)
        await victim.crash()
        lose(victim, one)
        assert await seconds_until_dead(c, victim) < 0.1
        dead = await row_of(c, victim)
        assert dead.hold == 0.0
        assert [vote.voter for vote in dead.votes] == [one.address]


async def test_a_process_that_lives_on_this_host_has_not_crashed_although_its_ports_refuse() -> None:
    async with cluster(one_host=True) as c:
        victim, one, other = await c.joined(3)
        for observer in (one, other):
            c.network.reject(observer.address, victim.address)
        lose(victim, one, other)
        await c.time.advance(c.options.vote_after - 0.1)
        assert await c.status(victim.address) is SiloStatus.ACTIVE


async def test_a_refused_silo_that_lives_ends_and_starts_no_turn_after_its_hold() -> None:
    """R5: declared dead by mistake, it fences itself or reads its death before its grains are free elsewhere."""
    async with cluster(apart=True) as c:
        victim, one, other = await c.joined(3)
        for observer in (one, other):
            c.network.reject(observer.address, victim.address)
        lose(victim, one, other)
        await seconds_until_dead(c, victim)
        await c.time.advance(HOLD)
        assert victim.gate.closed
        assert isinstance(await victim.fatal, DeclaredDead)


async def test_a_refused_silo_without_the_table_is_fenced_when_the_hold_ends() -> None:
    """R5: the hold counts from the death, and no proof of membership is younger than that."""
    async with cluster(apart=True) as c:
        victim, one, other = await c.joined(3)
        await c.time.advance(5.0)
        for observer in (one, other):
            c.network.reject(observer.address, victim.address)
        victim.table.down = True
        lose(victim, one, other)
        await seconds_until_dead(c, victim)
        assert not victim.gate.closed
        await c.time.advance(HOLD - 0.2)
        assert victim.gate.closed


async def test_bytes_that_still_arrive_withhold_the_vote() -> None:
    async with cluster(apart=True) as c:
        victim, one, other = await c.joined(3)
        for observer in (one, other):
            c.network.reject(observer.address, victim.address)
        lose(victim, one, other)
        await asyncio.sleep(0.1)
        for observer in (one, other):
            c.network.heard[victim.address, observer.address] = c.time.time() + 100.0
        await c.time.advance(2.0)
        assert await c.status(victim.address) is SiloStatus.ACTIVE


async def test_a_silo_that_answers_by_an_open_connection_lives_although_its_ports_refuse() -> None:
    """A firewall that refuses new connections only, or a service without a ready endpoint: the old ones go on.

    Probes have a connection of their own, whose bytes withhold no vote.
    """
    async with cluster(MembershipOptions(connection_veto=False), apart=True) as c:
        victim, one, other = await c.joined(3)
        c.network.shut.add(victim.address)
        lose(victim, one, other)
        await c.time.advance(10.0)
        assert await c.status(victim.address) is SiloStatus.ACTIVE


@pytest.mark.parametrize("sees", [0, 1])
async def test_an_open_connection_of_one_of_the_two_observers_is_enough(sees: int) -> None:
    async with cluster(MembershipOptions(connection_veto=False), apart=True) as c:
        victim, *observers = await c.joined(3)
        c.network.shut.add(victim.address)
        c.network.reject(observers[1 - sees].address, victim.address)
        lose(victim, *observers)
        await c.time.advance(10.0)
        assert await c.status(victim.address) is SiloStatus.ACTIVE


async def test_a_port_that_opens_again_between_the_looks_is_no_crash() -> None:
    async with cluster(apart=True) as c:
        victim, one, other = await c.joined(3)
        targets = c.network.silos.pop(victim.address)
        lose(victim, one, other)
        await asyncio.sleep(0.1)
        c.network.silos[victim.address] = targets
        await c.time.advance(10.0)
        assert await c.status(victim.address) is SiloStatus.ACTIVE


async def test_a_hang_is_not_a_refusal() -> None:
    """The kernel of a stopped process accepts connections: only silence is seen, and that takes longer."""
    async with cluster(apart=True) as c:
        victim, *_ = await c.joined(3)
        c.network.pause(victim.address)
        assert c.options.vote_after <= await seconds_until_dead(c, victim) <= 5.0
        c.network.go_on(victim.address)


def test_with_a_silo_of_an_earlier_release_refusals_are_not_used() -> None:
    """VER-06: it would hold the grains for too short a time. A process that is gone needs no hold."""
    silos = [address(number, host=f"silo-{number}") for number in range(4)]
    refused, gone = Crash(Evidence.REFUSED, HOLD), Crash(Evidence.GONE, 0.0)

    def declared(crash: Crash, voters: int = 2, earlier: str | None = None) -> bool:
        members = [replace(member(silo), process=earlier if silo == silos[3] else "") for silo in silos]
        table = Table(table_version("i", 5), tuple(Row(each, str(n)) for n, each in enumerate(members)))
        change = declare_crashed(table, silos[0], tuple(silos[1 : 1 + voters]), START, crash)
        return change is not None and change.member.status is DEAD

    assert not declared(refused)
    assert declared(refused, earlier="")
    assert not declared(refused, voters=1, earlier="")
    assert declared(gone, voters=1)


@pytest.mark.parametrize("case", ["one host", "joining", "apart"])
def test_refusals_need_two_active_voters_on_two_hosts(case: str) -> None:
    """R5: the rule of the table, beside that of the silo which looks."""
    silos = [address(number, host="silo" if case == "one host" else f"silo-{number}") for number in range(3)]
    statuses = [SiloStatus.ACTIVE, SiloStatus.ACTIVE, SiloStatus.JOINING if case == "joining" else SiloStatus.ACTIVE]
    members = [replace(member(silo, status), process="") for silo, status in zip(silos, statuses, strict=True)]
    table = Table(table_version("i", 5), tuple(Row(each, str(n)) for n, each in enumerate(members)))
    change = declare_crashed(table, silos[0], tuple(silos[1:]), START, Crash(Evidence.REFUSED, HOLD))
    assert (change is not None) == (case == "apart")


def test_a_dead_silo_does_not_declare_others_dead() -> None:
    one, other = address(1), address(2)
    table = Table(table_version("i", 5), (Row(member(one, DEAD), "1"), Row(member(other), "2")))
    with pytest.raises(DeclaredDead):
        declare_crashed(table, other, (one,), START, Crash(Evidence.GONE, 0.0))


async def test_a_silo_that_has_stopped_does_not_look() -> None:
    """Its connections break then, and its tasks have ended."""
    async with cluster(apart=True) as c:
        victim, one, _ = await c.joined(3)
        c.network.shut.add(victim.address)
        await one.agent.stop()
        before = len(c.network.asked)
        lose(victim, one)
        await c.time.advance(1.0)
        assert one.address not in {asker for asker, _, _ in c.network.asked[before:]}


@pytest.mark.parametrize("count", [2, 4])
async def test_all_but_one_crash_on_one_host(count: int) -> None:
    async with cluster(one_host=True) as c:
        survivor, *victims = await c.joined(count)
        for victim in victims:
            await victim.crash()
        lose(victims[0], survivor)
        for victim in victims:
            assert await seconds_until_dead(c, victim) <= c.options.probe_interval + 0.1


async def test_a_cold_start_on_one_host_does_not_wait_for_the_rows_of_killed_silos() -> None:
    """LIV-03: their processes are gone, so a joining silo may declare them dead before they are stale."""
    async with cluster(one_host=True) as c:
        before = await c.joined(2)
        for silo in before:
            await silo.crash()
        began = c.time.time()
        await c.join(7)
        assert c.time.time() - began <= 2 * c.options.probe_interval + 0.1
        for silo in before:
            assert await c.status(silo.address) is DEAD
