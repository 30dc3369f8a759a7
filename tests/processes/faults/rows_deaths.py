"""Silos that die, hang or are stopped: F1, F2, F3, F30, F31, F47, F48."""

from __future__ import annotations

import asyncio
import signal
import time

from tests.processes.faults import verdict
from tests.processes.faults.round import Judge, Round, Row
from tests.processes.faults.silos import FaultSilo, ended

DECLARED = 1.5
HANG_DECLARED = 5.0
BACK, BACK_ON_ONE_HOST = 3.5, 1.5
"""A silo on the same host sees that the process is gone. One on another host waits until it must have fenced itself."""

HANG_BACK = 10.0
IN_FLIGHT = 0.1
DRAIN = 30.0
RESTART = 5.0
COLD = 10.0
SLOWEST = 1.0


async def killed(one: Round) -> Judge:
    """F1: SIGKILL one silo: its calls fail at once, its death is declared in 1.5 s, its grains answer in 3.5 s."""
    return await killed_and_back(one, BACK)


async def killed_on_one_host(one: Round) -> Judge:
    """F47: SIGKILL one of three silos on one host: as F1, and its grains answer in 1.5 s."""
    return await killed_and_back(one, BACK_ON_ONE_HOST)


async def killed_and_back(one: Round, back: float) -> Judge:
    victim = one.pick()
    at = await one.kill(victim)
    await one.declared(victim, at, DECLARED)
    await one.hold(2.0)

    def judge() -> None:
        one.figure("in-flight calls ended", verdict.in_flight(one.history, at), IN_FLIGHT)
        one.answering(at, back, one.steps(victim, at))

    return judge


async def hung(one: Round) -> Judge:
    """F48: SIGSTOP one silo for ever: its death is declared in 5 s, its grains answer in 10 s."""
    victim = one.pick()
    one.expect_death(victim, -signal.SIGKILL)
    at = time.monotonic()
    victim.signal(signal.SIGSTOP)
    await one.declared(victim, at, HANG_DECLARED)
    victim.signal(signal.SIGKILL)
    await ended(victim)
    await one.hold(2.0)

    def judge() -> None:
        one.answering(at, HANG_BACK, one.steps(victim, at))

    return judge


async def two_of_four_killed(one: Round) -> Judge:
    """SIGKILL two of four at once, the owners of half of the directory among them."""
    fourth = await one.stage.silos.run("d")
    await one.stage.shows(one.stage.silos.running)
    await one.hold(one.pace.warm)
    victims = one.stage.rng.sample(one.stage.silos.running, 2)
    at, _ = await asyncio.gather(*(one.kill(victim) for victim in victims))
    for victim in victims:
        await one.declared(victim, at, 15.0)
    await one.hold(2.0)
    if fourth.running:
        await stopped(one, fourth)
    return lambda: one.answering(at, 15.0)


async def asked_to_stop(one: Round) -> Judge:
    """SIGTERM under load: no call fails."""
    await stopped(one, one.pick())
    return lambda: one.none_failed("failed calls in graceful stops")


async def rolling_restart(one: Round) -> Judge:
    """All three, one after the other, under load: no call fails, and none is slow."""
    for name in ("a", "b", "c"):
        await stopped(one, one.stage.silos.of(name))
        await one.stage.silos.run(name)
        await one.stage.shows(one.stage.silos.running)
        await one.hold(one.pace.warm)

    def judge() -> None:
        one.none_failed("failed calls in graceful stops")
        times = sorted(call.end.t - call.invoke.t for call in verdict.returned(one.history) if call.end is not None)
        one.figure("slowest percent in a rolling restart", times[int(len(times) * 0.99)], SLOWEST)
        one.figures["calls in rolling restarts"].append(len(times))

    return judge


async def scaled_and_started_cold(one: Round) -> Judge:
    """1 → 6 → 1 silos, a restart of the one, then back to three, all killed at once, and started again."""
    silos = one.stage.silos
    for name in ("b", "c"):
        await stopped(one, silos.of(name))
    await asyncio.gather(*(silos.run(name) for name in ("b", "c", "d", "e", "f")))
    await one.stage.shows(silos.running)
    for name in ("f", "e", "d", "c", "b"):
        await stopped(one, silos.of(name))
    await one.kill(silos.of("a"))
    one.figure("single silo restarted", await until_active(one, ["a"]), RESTART)
    await asyncio.gather(*(silos.run(name) for name in ("b", "c")))
    await one.stage.shows(silos.running)
    return await killed_all(one)


async def killed_all(one: Round) -> Judge:
    """SIGKILL of the whole cluster, and a cold start: rows of dead silos do not block it."""
    victims = list(one.stage.silos.running)
    await asyncio.gather(*(one.kill(victim) for victim in victims))
    began = time.monotonic()
    await until_active(one, [victim.name for victim in victims])

    def judge() -> None:
        first = next((call.end.t for call in verdict.returned(one.history) if call.end and call.end.t > began), None)
        one.figure("first call from cold", float("inf") if first is None else first - began, COLD)

    return judge


async def stopped(one: Round, silo: FaultSilo) -> None:
    """SIGTERM, and wait for a clean end."""
    one.expect_death(silo, 0)
    began = time.monotonic()
    silo.signal(signal.SIGTERM)
    code = await ended(silo, DRAIN + 15.0)
    one.expect(code == 0, f"silo {silo.name} asked to stop ended with {code}")
    one.figure("drain", time.monotonic() - began, DRAIN)


async def until_active(one: Round, names: list[str]) -> float:
    """Start these; returns the seconds until all are active."""
    began = time.monotonic()
    await asyncio.gather(*(one.stage.silos.run(name) for name in names))
    return time.monotonic() - began


ROWS = (
    Row("F1", "kill -9 one silo", killed),
    Row("F2", "kill -9 two of four at once", two_of_four_killed),
    Row("F3", "SIGTERM under load", asked_to_stop),
    Row("F30", "rolling restart of three under load", rolling_restart, rate=600.0),
    Row("F48", "SIGSTOP for ever, SIGKILL once it is declared dead", hung),
    Row("F31", "scale 1, 6, 1; then all killed and started cold", scaled_and_started_cold),
)

ON_ONE_HOST = (Row("F47", "kill -9 one silo, all on one host", killed_on_one_host),)
