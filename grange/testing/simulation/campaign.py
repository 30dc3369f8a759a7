"""Many seeds: worker processes run them, one process collects what they found. Called by `__main__.py`."""

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
    "fault:pause_long": "a silo stood still for longer than a death takes",
    "fault:pause_mid_write": "a silo stood still in a turn, just before its write",
    "fault:isolate": "a silo reached nobody but the databases",
    "fault:cut_one_way": "a line was cut in one direction",
    "fault:drain": "a silo drained and left",
    "fault:table_emptied": "the membership table was emptied",
    "fault:table_rolled_back": "the membership table went back in time",
    "fault:store_flaky": "the store failed, or lost its answer after committing",
    "cas_lost": "a compare-and-swap of the table was lost",
    "silo_fenced_by_store": "the store refused a write of a dead silo",
    "call_fail": "a call failed as not executed",
    "call_unknown": "a call ended with an unknown outcome",
    "message:membership.probe_for": "a silo was probed through a third one",
    "message:directory.take": "a snapshot of a range was handed over",
    "message:directory.recover": "a range was recovered from the hosts",
    "log:vote_withheld": "a vote for a death was withheld",
    "log:silo_declared_dead": "a silo was declared dead",
    "log:self_fenced": "a silo fenced itself",
    "log:table_lost": "a silo noticed that the table was lost",
    "log:table_rebuilt": "a lost table was rebuilt",
    "silo_given_up": "a silo read of its own death and ended",
}
"""What must have happened at least once in many seeds, or the simulation proves less than it says."""


class Finding(msgspec.Struct):
    """What one seed came to; `seconds` is processor time. `error` is set when the simulation itself broke."""

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
        """Nothing is wrong."""
        return not self.violations and not self.error


class Summary(msgspec.Struct):
    """All seeds together. `missing` names what never happened and should have; `longest_duplicate` is in seconds."""

    seeds: int
    minutes: float
    seconds_per_seed: float
    virtual_hours: float
    faults: int
    failed: list[Finding]
    counts: dict[str, int]
    missing: list[str]
    longest_duplicate: float


def try_seed(seed: int, minutes: float) -> Finding:
    """One seed, here and now; never raises what the simulation raises."""
    began = time.process_time()
    try:
        result = Simulation(seed, minutes=minutes).run()
    except Exception:  # reported as a finding of its own
        return Finding(seed, "", time.process_time() - began, [], {}, 0, traceback.format_exc())
    finally:
        gc.collect()
    took = time.process_time() - began
    longest = result.figures["longest_duplicate"]
    return Finding(seed, result.hash, took, result.violations, result.counts, result.steps, longest_duplicate=longest)


def work(seeds: Iterable[int], minutes: float) -> None:
    """A worker process: one JSON line on standard output for each seed."""
    for seed in seeds:
        sys.stdout.write(msgspec.json.encode(try_seed(seed, minutes)).decode() + "\n")
        sys.stdout.flush()


async def run_seeds(
    first: int, seeds: int, minutes: float, workers: int, found: Callable[[Finding], None]
) -> list[Finding]:
    """Spread seeds over worker processes; `found` is called with each as it ends. Returns all, by seed.

    Raises RuntimeError when a worker ends before its seeds do.
    """
    findings: list[Finding] = []

    async def one(number: int) -> None:
        mine = len(range(first + number, first + seeds, workers))
        arguments = ["--worker", str(number), "--workers", str(workers)]
        arguments += ["--first", str(first), "--seeds", str(seeds), "--minutes", str(minutes)]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "grange.testing.simulation", *arguments, stdout=asyncio.subprocess.PIPE, limit=2**26
        )
        try:
            assert process.stdout is not None
            async for line in process.stdout:
                finding = msgspec.json.decode(line, type=Finding)
                findings.append(finding)
                mine -= 1
                found(finding)
            if await process.wait() or mine:
                raise RuntimeError(f"worker {number} ended with {process.returncode} and {mine} seeds left")
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async with asyncio.TaskGroup() as group:
        for number in range(workers):
            group.create_task(one(number))
    return sorted(findings, key=lambda finding: finding.seed)


def summarise(findings: list[Finding], minutes: float) -> Summary:
    """Sums over all seeds."""
    counts: Counter[str] = Counter()
    for finding in findings:
        counts.update(finding.counts)
    seconds = sum(finding.seconds for finding in findings)
    return Summary(
        seeds=len(findings),
        minutes=minutes,
        seconds_per_seed=seconds / max(len(findings), 1),
        virtual_hours=len(findings) * minutes / 60,
        faults=sum(count for name, count in counts.items() if name.startswith("fault:")),
        failed=[finding for finding in findings if not finding.good],
        counts=dict(sorted(counts.items())),
        missing=[name for name in SOMETIMES if not counts[name]],
        longest_duplicate=max((finding.longest_duplicate for finding in findings), default=0.0),
    )


def rows(summary: Summary) -> Iterator[tuple[str, str, str]]:
    """The table of a summary: what, how often, in words."""
    for name, count in summary.counts.items():
        if name.startswith("fault:") and name not in SOMETIMES:
            yield name, f"{count:,}", ""
    duplicates = summary.counts.get("duplicate_turns", 0)
    yield (
        "duplicate_turns",
        f"{duplicates:,}",
        f"turns of two activations at once, {summary.longest_duplicate:.2f} s at most",
    )
    for name, words in SOMETIMES.items():
        yield name, f"{summary.counts.get(name, 0):,}", words
