"""Runs many seeds in worker processes and collects their results. Called by `__main__.py`."""

from __future__ import annotations

import asyncio
import gc
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

import msgspec

from grange.testing.checks.history import Violation
from grange.testing.simulation.simulation import Simulation

SOMETIMES = {
    "fault:crash": "a silo was killed",
    "fault:pause_long": "a silo was paused for longer than it takes to declare it dead",
    "fault:pause_mid_write": "a silo was paused within a turn, just before its write",
    "fault:isolate": "a silo reached the databases only",
    "fault:cut_one_way": "a line was cut in one direction",
    "fault:reject_one": "a firewall refused what one silo sent to another",
    "fault:reject_all": "a firewall refused what all other silos sent to one, which lived",
    "fault:reject_pair": "a firewall between two silos refused both directions",
    "fault:reject_host": "a firewall between one silo and all others refused both directions",
    "resets": "a connection was reset on a sound line",
    "fault:drain": "a silo drained and left",
    "fault:clock_jump": "the wall clock of a machine was set forwards or back, by an hour or five minutes",
    "fault:table_emptied": "the membership table was emptied",
    "fault:table_rolled_back": "the membership table was rolled back to an older version",
    "fault:store_flaky": "the store failed, or its answer was lost after the commit",
    "renews": "a silo replaced the connections that it had opened",
    "asks_for_renewal": "a silo asked a peer for another connection",
    "cas_lost": "a compare-and-swap on the table lost a race",
    "silo_fenced_by_store": "the store refused a write of a dead silo",
    "call_fail": "a call failed as not executed",
    "call_unknown": "a call ended with an unknown outcome",
    "message:membership.probe_for": "a silo was probed through a third one",
    "message:directory.take": "a snapshot of a range was handed over",
    "message:activation.move": "an activation moved to another silo, by itself, by the rebalancer or in a drain",
    "log:activations_rebalanced": "the rebalancer of a silo moved activations",
    "vault_turn": "a grain that is not for all ran for a caller that may call it",
    "log:deadlock_found": "calls waited for each other, and one of them was refused",
    "log:activation_abandoned": "a turn hung, was abandoned, and its grain went on without it",
    "log:move_failed": "an activation did not move, and continued where it was",
    "message:directory.recover": "a range was recovered from the hosts",
    "log:vote_withheld": "a vote for a death was withheld",
    "log:silo_declared_dead": "a silo was declared dead",
    "death_by_refusal": "a silo was declared dead because it refused connections",
    "death_proven_on_host": "a silo was declared dead because its process was gone, as seen on its host",
    "log:self_fenced": "a silo fenced itself",
    "log:generation_ahead_of_clock": "a silo started after the clock of its machine, or of another, was set back",
    "log:table_lost": "a silo detected that the table was lost",
    "log:table_rebuilt": "a lost table was rebuilt",
    "silo_given_up": "a silo read its own death in the table, or lost contact, and ended",
}
"""Events that must occur at least once in many seeds ("sometimes" assertions); else the runs did not test them."""


class SeedResult(msgspec.Struct):
    """The result of one seed. `seconds` is processor time; `error` is a traceback when the simulation itself failed."""

    seed: int
    hash: str
    seconds: float
    violations: list[Violation]
    counts: dict[str, int]
    steps: int
    error: str = ""
    longest_duplicate: float = 0.0

    @property
    def good(self) -> bool:
        """Whether the run had neither a violation nor an error."""
        return not self.violations and not self.error


class Summary(msgspec.Struct):
    """The totals of all seeds. `missing` names the SOMETIMES that never occurred; `longest_duplicate` is in seconds."""

    seeds: int
    minutes: float
    seconds_per_seed: float
    virtual_hours: float
    faults: int
    failed: list[SeedResult]
    counts: dict[str, int]
    missing: list[str]
    longest_duplicate: float


def run_seed(seed: int, minutes: float) -> SeedResult:
    """Run one seed in this process. An exception of the simulation becomes the result's `error`."""
    began = time.process_time()
    try:
        result = Simulation(seed, minutes=minutes).run()
    except Exception:  # reported as the result of this seed
        return SeedResult(seed, "", time.process_time() - began, [], {}, 0, traceback.format_exc())
    finally:
        gc.collect()
    took = time.process_time() - began
    longest = result.figures["longest_duplicate"]
    return SeedResult(
        seed, result.hash, took, result.violations, result.counts, result.steps, longest_duplicate=longest
    )


def run_worker(seeds: Iterable[int], minutes: float) -> None:
    """Run seeds in a worker process; print one JSON line for each on standard output."""
    for seed in seeds:
        sys.stdout.write(msgspec.json.encode(run_seed(seed, minutes)).decode() + "\n")
        sys.stdout.flush()


async def run_seeds(
    first: int, seeds: int, minutes: float, workers: int, on_result: Callable[[SeedResult], None]
) -> list[SeedResult]:
    """Run seeds in worker processes; call `on_result` as each ends. Returns all results, sorted by seed.

    Raises RuntimeError when a worker ends before its seeds do.
    """
    results: list[SeedResult] = []

    async def run_process(number: int) -> None:
        seeds_left = len(range(first + number, first + seeds, workers))
        arguments = ["--worker", str(number), "--workers", str(workers)]
        arguments += ["--first", str(first), "--seeds", str(seeds), "--minutes", str(minutes)]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "grange.testing.simulation", *arguments, stdout=asyncio.subprocess.PIPE, limit=2**26
        )
        try:
            assert process.stdout is not None
            async for line in process.stdout:
                result = msgspec.json.decode(line, type=SeedResult)
                results.append(result)
                seeds_left -= 1
                on_result(result)
            if await process.wait() or seeds_left:
                raise RuntimeError(f"worker {number} ended with {process.returncode} and {seeds_left} seeds left")
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async with asyncio.TaskGroup() as group:
        for number in range(workers):
            group.create_task(run_process(number))
    return sorted(results, key=lambda result: result.seed)


def summarise(results: list[SeedResult], minutes: float) -> Summary:
    """Add up the results of all seeds."""
    counts: Counter[str] = Counter()
    for result in results:
        counts.update(result.counts)
    seconds = sum(result.seconds for result in results)
    return Summary(
        seeds=len(results),
        minutes=minutes,
        seconds_per_seed=seconds / max(len(results), 1),
        virtual_hours=len(results) * minutes / 60,
        faults=sum(count for name, count in counts.items() if name.startswith("fault:")),
        failed=[result for result in results if not result.good],
        counts=dict(sorted(counts.items())),
        missing=[name for name in SOMETIMES if not counts[name]],
        longest_duplicate=max((result.longest_duplicate for result in results), default=0.0),
    )


def rows(summary: Summary) -> Iterator[tuple[str, str, str]]:
    """Yield the rows of a summary table: name, count, meaning."""
    for name, count in summary.counts.items():
        if name.startswith("fault:") and name not in SOMETIMES:
            yield name, f"{count:,}", ""
    duplicates = summary.counts.get("duplicate_turns", 0)
    yield (
        "duplicate_turns",
        f"{duplicates:,}",
        f"overlapping turns of two activations, begun by the older one for {summary.longest_duplicate:.2f} s at most",
    )
    for name, meaning in SOMETIMES.items():
        yield name, f"{summary.counts.get(name, 0):,}", meaning
