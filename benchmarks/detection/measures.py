"""The three measurements: messages of a calm cluster, times until a hang is found, and false deaths."""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter

import msgspec

from benchmarks.detection.cluster import Cluster, with_cluster
from benchmarks.detection.disturbance import DISTURBANCES, Disturbance
from grange.membership.model.options import MembershipOptions

PURPOSES = {
    "probes": ("probe", "probe answer", "membership.probe", "membership.probe answer"),
    "indirect": ("membership.probe_for", "membership.probe_for answer"),
    "gossip": ("membership.view", "membership.view answer", "membership.fetch", "membership.fetch answer"),
    "table reads": ("table read",),
    "alive writes": ("alive write",),
    "changes": ("table write",),
}
"""The columns of messages, and what each counts. An answer is a message of its own; a table operation counts once."""

APART = (4.0, 8.0)
"""Seconds between the death of one hung silo and the next hang in the same cluster."""

LONGEST = 60.0
"""Seconds after which a hang that was not found counts as never found."""


class Cost(msgspec.Struct, frozen=True):
    """Messages and table operations of one silo in a second, by `PURPOSES`."""

    rates: dict[str, float]


class Hangs(msgspec.Struct, frozen=True):
    """Seconds from each hang to the written death; infinite: not found. `false_deaths` of silos that did not hang."""

    seconds: tuple[float, ...]
    false_deaths: int

    def quantile(self, share: float) -> float:
        """The time below which this share of the hangs was found."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]


class Faults(msgspec.Struct, frozen=True):
    """A disturbed cluster in which no silo hangs: every death is false, and so is every self-fence.

    `open_deaths` are the deaths of silos that still started turns then, because they could read the table. They learn
    of their death by the view, or from the table within `SEARCH_INTERVAL`.
    """

    seconds: float
    silo_seconds: float
    deaths: int
    open_deaths: int
    fences: int
    votes: int
    cost: Cost


def cost(size: int, options: MembershipOptions, seconds: float, seed: str) -> Cost:
    """The cost of a calm cluster."""

    async def measure(cluster: Cluster) -> Cost:
        cluster.messages.clear()
        await asyncio.sleep(seconds)
        return _cost(cluster.messages, size * seconds)

    return with_cluster(size, options, seed, measure)


def hangs(size: int, options: MembershipOptions, count: int, disturbance: Disturbance, seed: str) -> Hangs:
    """Hang `count` silos, one after the other, a tenth of a cluster at most; then go on with a new cluster."""
    found = Hangs((), 0)
    rounds = 0
    while len(found.seconds) < count:
        rounds += 1
        at_once = min(max(1, size // 10), count - len(found.seconds))
        part = _hang_some(size, options, at_once, disturbance, f"{seed} {rounds}")
        found = Hangs(found.seconds + part.seconds, found.false_deaths + part.false_deaths)
    return found


def _hang_some(size: int, options: MembershipOptions, count: int, disturbance: Disturbance, seed: str) -> Hangs:
    rng = random.Random(f"{seed} hangs")

    async def measure(cluster: Cluster) -> Hangs:
        cluster.disturb(disturbance)
        seconds: list[float] = []
        chosen = rng.sample(list(cluster.silos.values()), count)
        for silo in chosen:
            await asyncio.sleep(rng.uniform(*APART))
            if silo.address in cluster.deaths:
                continue
            silo.hang()
            took = await cluster.death_of(silo, LONGEST)
            seconds.append(math.inf if took is None else took)
        false = [address for address in cluster.deaths if not cluster.silos[address].hung]
        return Hangs(tuple(seconds), len(false))

    return with_cluster(size, options, seed, measure)


def faults(size: int, options: MembershipOptions, seconds: float, disturbance: Disturbance, seed: str) -> Faults:
    """Disturb a cluster for so long. After a death it goes on with a new cluster, as a silo would start again."""
    total = Faults(0.0, 0.0, 0, 0, 0, 0, Cost({}))
    counted: Counter[str] = Counter()
    rounds = 0

    async def measure(cluster: Cluster) -> Faults:
        cluster.messages.clear()
        cluster.disturb(disturbance)
        began = cluster.loop.time()
        while not cluster.deaths and cluster.loop.time() - began < seconds - total.seconds:
            await asyncio.sleep(1.0)
        took = cluster.loop.time() - began
        counted.update(cluster.messages)
        deaths, still_open = len(cluster.deaths), len(cluster.open_at_death)
        return Faults(took, took * size, deaths, still_open, cluster.fences, cluster.suspicions, Cost({}))

    while total.seconds < seconds:
        rounds += 1
        part = with_cluster(size, options, f"{seed} {rounds}", measure)
        total = Faults(
            total.seconds + part.seconds,
            total.silo_seconds + part.silo_seconds,
            total.deaths + part.deaths,
            total.open_deaths + part.open_deaths,
            total.fences + part.fences,
            total.votes + part.votes,
            Cost({}),
        )
    return msgspec.structs.replace(total, cost=_cost(counted, total.silo_seconds))


def _cost(messages: Counter[str], silo_seconds: float) -> Cost:
    rates = {name: sum(messages[kind] for kind in kinds) / silo_seconds for name, kinds in PURPOSES.items()}
    return Cost(rates)


def disturbances(names: str | None) -> dict[str, Disturbance]:
    """The disturbances of these names, separated by commas; None: all but "calm". Raises KeyError."""
    if names is None:
        return {name: each for name, each in DISTURBANCES.items() if name != "calm"}
    return {name: DISTURBANCES[name] for name in names.split(",")}
