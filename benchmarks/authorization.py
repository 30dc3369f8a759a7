"""The cost of rules for a call: `python -m benchmarks.authorization`.

One process runs a silo and a client for each kind: without identities, with them, and with rules besides. All are
measured in alternating rounds, so that other programs of the machine disturb all alike; a figure is the least of all
rounds. The client and the silo share the process, so a remote call counts both sides. The verdict of an identity that
was allowed before is measured by itself, in nanoseconds.
"""

import argparse
import asyncio
import json
import logging
import tempfile
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from benchmarks.contestants.grange_ import Echo
from benchmarks.tracing import Caller, Measure, measures, rounds_of
from grange import Identity
from grange.client import Client
from grange.proto.identity import encode_identity
from grange.security.policy import Policy
from grange.security.rule import read_rules
from grange.silo import Silo

ANN = Identity("user:ann", ("customer", "vip"), "acme")
RULES = [
    *({"who": [f"role:other-{number}"], "call": [f"other_{number}/*"]} for number in range(50)),
    {"who": ["role:customer"], "call": ["echo/*", "caller/*"]},
    {"who": ["grain:*", "silo"], "call": ["*/*"]},
]
KINDS: dict[str, dict[str, Any]] = {
    "no identities": {},
    "identities": {"authenticate": lambda _: ANN},
    "rules": {"authenticate": lambda _: ANN, "allow": RULES},
}
TARGET, TARGET_NS = 1.03, 300.0
"""Of a call with rules to one with identities; of one verdict in nanoseconds."""

_CALLERS = 100
_HITS = 200_000


def main() -> None:
    """Measure, print the table, and write the figures if that is asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.authorization", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--rounds", type=int, default=30, metavar="N")
    parser.add_argument("--json", metavar="FILE", help="write the figures")
    options = parser.parse_args()
    logging.disable(logging.WARNING)  # silos that share a process are held up by each other's rounds
    found = asyncio.run(_measure(options.rounds))
    for (where, kind), (microseconds, ratio) in found.items():
        bound = f"  target {TARGET:.2f}" if kind == "rules" else ""
        print(f"{where:10} {kind:14} {microseconds:7.2f} us a call   {ratio:.3f} of identities{bound}")
    hits = {"guard of a method": _least(_guard()), "table of the policy": _least(_table())}
    for name, nanoseconds in hits.items():
        print(f"{name:25} {nanoseconds:7.1f} ns a hit   target {TARGET_NS:.0f}")
    if options.json:
        document = {f"{where}, {kind}": {"us": us, "ratio": ratio} for (where, kind), (us, ratio) in found.items()}
        text = json.dumps({**document, "ns": hits}, indent=2)
        Path(options.json).write_text(text + "\n", encoding="utf-8")


def _guard() -> Callable[[], float]:
    """The look of a usual call: its bytes are new with each request, so that their hash is not known."""
    guard: set[bytes] | None = {encode_identity(Identity(f"user:{number}", ("customer",))) for number in range(10_000)}
    ann = bytearray(encode_identity(ANN))
    principals = [bytes(ann) for _ in range(_HITS)]
    assert guard is not None
    guard.add(principals[0])

    def run() -> float:
        fresh = [bytes(ann) for _ in range(_HITS)]
        begun = time.thread_time_ns()
        for principal in fresh:
            if guard is not None and principal not in guard:
                raise AssertionError
        return (time.thread_time_ns() - begun) / _HITS

    return run


def _table() -> Callable[[], float]:
    """The look of the gateway, and of all calls that are not usual."""
    policy = Policy(read_rules(RULES))
    ann = bytearray(encode_identity(ANN))

    def run() -> float:
        fresh = [bytes(ann) for _ in range(_HITS)]
        begun = time.thread_time_ns()
        for principal in fresh:
            if policy.refusal(principal, "echo", "echo"):
                raise AssertionError
        return (time.thread_time_ns() - begun) / _HITS

    return run


def _least(run: Callable[[], float]) -> float:
    return round(min(run() for _ in range(7)), 1)


async def _measure(rounds: int) -> dict[tuple[str, str], tuple[float, float]]:
    measures: dict[tuple[str, str], Measure] = {}
    async with AsyncExitStack() as parts:
        for number, (kind, options) in enumerate(KINDS.items()):
            here, turn, there = await _start(parts, number, options)
            measures |= {("local", kind): here, ("in a turn", kind): turn, ("remote", kind): there}
        taken = await rounds_of(measures, rounds)
    return {
        (where, kind): (round(min(mine) * 1e6, 2), round(min(mine) / min(taken[where, "identities"]), 3))
        for (where, kind), mine in taken.items()
    }


async def _start(parts: AsyncExitStack, number: int, options: dict[str, Any]) -> tuple[Measure, Measure, Measure]:
    folder = parts.enter_context(tempfile.TemporaryDirectory())
    cluster = f"rules-{number}"
    silo = Silo([Echo, Caller], cluster=cluster, port=0, gateway_port=0, data=Path(folder), **options)
    await parts.enter_async_context(silo)
    client = Client([silo.gateway], cluster=cluster, token="ann" if options else "")
    await parts.enter_async_context(client)
    here, caller = silo.get_grain(Echo, "local"), client.get_grain(Caller, "local")
    there = [client.get_grain(Echo, f"{each}") for each in range(_CALLERS)]
    return measures(here, caller, there)


if __name__ == "__main__":
    main()
