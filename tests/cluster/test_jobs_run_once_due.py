"""A durable job runs on its grain at its time or later, at least once, and is kept when it fails too often (JOB)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from grange import Grain
from grange.grains.tick import Job, Retry, ScheduledJob
from grange.testing import TestCluster

RUNS: list[tuple[str, Job]] = []
FAILS: dict[str, int] = {}


@pytest.fixture(autouse=True)
def no_runs() -> None:
    """Each test begins without runs."""
    RUNS.clear()
    FAILS.clear()


class Worker(Grain, name="worker"):
    """Runs jobs."""

    async def on_job(self, job: Job) -> None:
        """Note the run; fail as often as the test says."""
        RUNS.append((str(self.key), job))
        if FAILS.get(job.name, 0) >= job.attempt:
            raise RuntimeError("not yet")


class Idle(Grain, name="idle"):
    """Has no hook for jobs."""


class Boss(Grain, name="boss"):
    """Schedules jobs for other grains."""

    async def give(
        self, key: str, due: float, name: str = "", payload: Any = None, metadata: dict[str, str] | None = None
    ) -> ScheduledJob:
        """Schedule a job of a worker."""
        worker = self.get_grain(Worker, key)
        return await self.jobs.schedule(worker, due, name=name, payload=payload, metadata=metadata)

    async def give_patient(self, key: str, name: str) -> ScheduledJob:
        """A job with a rule of its own for retries."""
        retry = Retry(attempts=3, first=10, longest=15)
        return await self.jobs.schedule(self.get_grain(Worker, key), name=name, retry=retry)

    async def give_at(self, key: str, due: datetime) -> ScheduledJob:
        """A job at a date."""
        return await self.jobs.schedule(self.get_grain(Worker, key), due)

    async def give_idle(self) -> None:
        """A job for a grain that takes none."""
        await self.jobs.schedule(self.get_grain(Idle, "a"))

    async def take_back(self, job: ScheduledJob) -> bool:
        """Cancel a job."""
        return await self.jobs.cancel(job)

    async def of(self, key: str) -> list[ScheduledJob]:
        """The jobs of a worker."""
        return await self.jobs.list(self.get_grain(Worker, key))


async def test_jobs_run_in_the_order_of_their_times_on_their_grains() -> None:
    """JOB-01: never early; equal names get different ids; metadata and payload reach the hook."""
    async with TestCluster([Worker, Boss], silos=3) as cluster:
        boss = cluster.get_grain(Boss, "b")
        for due in (30.0, 10.0, 20.0):
            await boss.give("w", due, "mail", {"n": due}, {"to": f"ann{due:.0f}"})
        await boss.give("other", 5, "mail")
        assert [job.metadata["to"] for job in await boss.of("w")] == ["ann10", "ann20", "ann30"]
        await cluster.advance(10)
        assert [key for key, _ in RUNS] == ["other"]
        await cluster.advance(21)
        assert [(key, job.payload, job.metadata) for key, job in RUNS[1:]] == [
            ("w", {"n": due}, {"to": f"ann{due:.0f}"}) for due in (10.0, 20.0, 30.0)
        ]
        assert len({job.id for _, job in RUNS}) == 4
        assert await boss.of("w") == []


async def test_a_job_whose_time_has_passed_runs_at_once() -> None:
    """JOB-01: also one without a time."""
    async with TestCluster([Worker, Boss], silos=2) as cluster:
        boss = cluster.get_grain(Boss, "b")
        await boss.give_at("w", datetime(2020, 1, 1, tzinfo=UTC))
        await boss.give("w", 0)
        await cluster.advance(1)
        assert len(RUNS) == 2


async def test_a_cancelled_job_does_not_run() -> None:
    """A second cancellation finds none, and so does one after the run."""
    async with TestCluster([Worker, Boss], silos=2) as cluster:
        boss = cluster.get_grain(Boss, "b")
        job, other = await boss.give("w", 10), await boss.give("w", 10)
        assert await boss.take_back(job)
        assert not await boss.take_back(job)
        await cluster.advance(20)
        assert [run.id for _, run in RUNS] == [other.id]
        assert not await boss.take_back(other)


async def test_a_failing_job_is_tried_again_by_its_rule() -> None:
    """With the same id, and a number that rises; it then succeeds."""
    async with TestCluster([Worker, Boss], silos=2) as cluster:
        FAILS["slow"] = 2
        await cluster.get_grain(Boss, "b").give_patient("w", "slow")
        await cluster.advance(9)
        assert len(RUNS) == 1
        await cluster.advance(30)
        assert [job.attempt for _, job in RUNS] == [1, 2, 3]
        assert len({job.id for _, job in RUNS}) == 1
        assert await cluster.get_grain(Boss, "b").of("w") == []


async def test_a_job_that_fails_too_often_is_parked_with_its_error() -> None:
    """A dead letter: listed, cancelled by hand, and never run again by itself."""
    async with TestCluster([Worker, Boss], silos=2) as cluster:
        boss = cluster.get_grain(Boss, "b")
        FAILS["bad"] = 99
        await boss.give_patient("w", "bad")
        await cluster.advance(300)
        assert len(RUNS) == 3
        (parked,) = await boss.of("w")
        assert (parked.due, parked.failed, parked.error) == (None, 3, "RuntimeError: not yet")
        assert await boss.take_back(parked)
        assert await boss.of("w") == []


async def test_jobs_of_a_dead_silo_run_once_elsewhere_with_all_that_they_had() -> None:
    """JOB-03: order, metadata, retries and cancellations are preserved."""
    async with TestCluster([Worker, Boss], silos=3) as cluster:
        boss = cluster.get_grain(Boss, "b")
        FAILS["twice"] = 1
        jobs = [await boss.give(f"w{number}", 20 + number / 10, f"j{number}") for number in range(30)]
        twice = await boss.give("w", 19, "twice", metadata={"a": "b"})
        assert await boss.take_back(jobs[7])
        await cluster.advance(10)
        await cluster.kill(cluster.silos[0])
        await cluster.advance(40)
        names = [job.name for _, job in RUNS if job.name != "twice"]
        assert sorted(names) == sorted(f"j{number}" for number in range(30) if number != 7)
        assert [(job.attempt, job.metadata) for _, job in RUNS if job.id == twice.id] == [
            (1, {"a": "b"}),
            (2, {"a": "b"}),
        ]


async def test_what_cannot_be_a_job_is_refused_at_once() -> None:
    """A grain without the hook, a wrong time, metadata that are no texts."""
    async with TestCluster([Worker, Boss, Idle], silos=1) as cluster:
        boss = cluster.get_grain(Boss, "b")
        with pytest.raises(RuntimeError, match=r"Idle has no on_job"):
            await boss.give_idle()
        with pytest.raises(ValueError, match="has no time zone"):
            await boss.give_at("w", datetime(2030, 1, 1))
        with pytest.raises(ValueError, match="must be 0 s or more"):
            await boss.give("w", -1)
        assert await boss.of("w") == []
        jobs = cluster.silos[0].jobs
        with pytest.raises(TypeError, match=r"metadata= a mapping of texts to texts; 1 is none.*payload="):
            await jobs.schedule(cluster.get_grain(Worker, "w"), metadata={"n": 1})  # type: ignore[dict-item]
        with pytest.raises(TypeError, match=r"payload=.* does not come back equal from JSON"):  # a type that travels
            await jobs.schedule(cluster.get_grain(Worker, "w"), payload=object())


async def test_code_beside_grains_schedules_jobs() -> None:
    """By `silo.jobs`: in a start-up task or a handler of requests."""
    async with TestCluster([Worker], silos=1) as cluster:
        silo = cluster.silos[0]
        job = await silo.jobs.schedule(silo.get_grain(Worker, "w"), timedelta(seconds=5), name="n")
        await asyncio.sleep(6)
        assert [run.id for _, run in RUNS] == [job.id]
