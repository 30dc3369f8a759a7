"""Carries out a plan: start each session's processes, ask for its figures, keep the samples, stop them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from rich.progress import Progress

from benchmarks.catalog import Setting
from benchmarks.environments import FOLDER
from benchmarks.plan import Lengths, Session, Variant
from benchmarks.postgres import database_for
from benchmarks.processes import ContestantFailed, Worker, worker
from benchmarks.results import Samples


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
    async with _processes(session, database) as processes:
        asked = processes[-1]
        outcome.introductions[label] = {
            **{name: asked.introduction[name] for name in ("python", "loop", "versions")},
            "command": "python " + " ".join(session.variant.command[1:]),
        }
        for figure in session.figures:
            before = _processor_seconds(processes)
            sample = await asked.ask(lengths.order(figure))
            used = _processor_seconds(processes) - before
            if "calls" in sample and used > 0:
                sample["processor"] = used / sample["calls"] * 1e6
            outcome.samples.add(figure.name, label, session.round, sample)


@asynccontextmanager
async def _processes(session: Session, database: list[str]) -> AsyncIterator[list[Worker]]:
    """Start the processes of the session's setting; the last worker gets the orders."""
    variant = session.variant
    if session.setting in (Setting.ALONE, Setting.FRESH) or not variant.contestant.serves:
        async with _worker(variant, "alone", *database) as alone:
            yield [alone]
        return
    async with _worker(variant, "serve", *database) as server:
        address = server.introduction["ready"]
        async with _worker(variant, "drive", "--address", address) as driver:
            yield [server, driver]


def _processor_seconds(processes: Sequence[Worker]) -> float:
    return sum(process.processor_seconds() or 0.0 for process in processes)


def _worker(variant: Variant, role: str, *arguments: str) -> AbstractAsyncContextManager[Worker]:
    log = FOLDER / "logs" / f"{variant.contestant.module}-{variant.python}-{role}.log"
    return worker([*variant.command, role, *arguments], log)
