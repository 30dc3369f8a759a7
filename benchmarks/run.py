"""Carries out a plan: start each session's processes, ask for its figures, keep the samples, stop them."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from rich.progress import Progress

from benchmarks.catalog import Setting
from benchmarks.environments import FOLDER
from benchmarks.plan import Lengths, Session, Variant
from benchmarks.postgres import database_for
from benchmarks.processes import ContestantFailed, MeasurementFailed, Worker, worker
from benchmarks.results import Sample, Samples, together


@dataclass
class Outcome:
    """The result of a run: samples, the introduction of each variant, and the failures."""

    samples: Samples
    introductions: dict[str, dict[str, Any]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


async def run(plan: Sequence[Session], lengths: Lengths, server: str | None, progress: Progress) -> Outcome:
    """Carry out every session in order. A failed session is recorded, and the run goes on.

    `server` is the address of a Postgres server, needed by the sessions that write state.
    """
    outcome = Outcome(Samples(lengths.rounds))
    task = progress.add_task("starting", total=sum(len(session.figures) for session in plan))
    for session in plan:
        progress.update(task, description=f"round {session.round + 1}: {session.variant.label}")
        try:
            async with database_for(session, server) as database:
                await _session(session, lengths, database, outcome)
        except ContestantFailed as error:
            outcome.failures[f"{session.variant.label}, {session.setting.name.lower()}"] = str(error)
        progress.advance(task, len(session.figures))
    progress.update(task, description="done")
    return outcome


async def _session(session: Session, lengths: Lengths, database: list[str], outcome: Outcome) -> None:
    label = session.variant.label
    async with _processes(session, database) as (server, drivers):
        outcome.introductions[label] = {
            **{name: drivers[0].introduction[name] for name in ("python", "loop", "versions")},
            "command": "python " + " ".join(session.variant.command[1:]),
        }
        for figure in session.figures:
            try:
                sample = await measure(lengths.order(figure), server, drivers)
            except MeasurementFailed as error:
                outcome.failures[f"{label}, {figure.name}"] = str(error)
                continue
            outcome.samples.add(figure.name, label, session.round, sample)


async def measure(order: dict[str, Any], server: Worker | None, drivers: Sequence[Worker]) -> Sample:
    """Let all drivers carry out one order at once, and return their sample with the processor time of a call, in μs.

    `processor` is that of all processes, `client` that of the drivers, and `server` that of the server, if there is
    one. Several drivers add up to one sample; its percentiles are those of the slowest. Raises ContestantFailed.
    """
    processes = [*drivers, *([server] if server else [])]
    before = [process.processor_seconds() for process in processes]
    samples = await asyncio.gather(*(driver.ask(order) for driver in drivers))
    used = [process.processor_seconds() - start for process, start in zip(processes, before, strict=True)]
    whole = together(samples)
    if "calls" in whole and sum(used) > 0:
        per_call = [seconds / whole["calls"] * 1e6 for seconds in used]
        whole["processor"] = sum(per_call)
        whole["client"] = sum(per_call[: len(drivers)])
        if server:
            whole["server"] = per_call[-1]
    return whole


@asynccontextmanager
async def _processes(session: Session, database: list[str]) -> AsyncIterator[tuple[Worker | None, list[Worker]]]:
    """Start the processes of the session's setting: the server, and those that get the orders."""
    variant = session.variant
    async with AsyncExitStack() as started:

        async def start(role: str, *arguments: str) -> Worker:
            return await started.enter_async_context(start_worker(variant, role, *arguments))

        if session.setting in (Setting.ALONE, Setting.FRESH) or not variant.contestant.serves:
            yield None, [await start("alone", *database)]
        elif session.setting is Setting.SILOS:
            folder = started.enter_context(tempfile.TemporaryDirectory())
            table = ("--membership", f"sqlite:///{folder}/membership.db")
            server = await start("serve", *table)
            yield server, [await start("join", *table)]
        else:
            server = await start("serve", *database)
            drivers = 2 if session.setting is Setting.CLIENTS else 1
            address = server.introduction["ready"]
            yield server, [await start("drive", "--address", address) for _ in range(drivers)]


def start_worker(variant: Variant, role: str, *arguments: str) -> AbstractAsyncContextManager[Worker]:
    """Start one process of a variant in a role; its errors go to a log of its own."""
    name = variant.contestant.name.replace(" ", "-")
    log = FOLDER / "logs" / f"{name}-{variant.python}-{role}.log"
    return worker([*variant.command, role, *arguments], log)
