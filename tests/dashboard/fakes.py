"""A cluster whose silos answer what a test says: late, never, of another version, with hostile texts."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec

from grange.dashboard.app import Dashboard
from grange.errors import SiloUnavailable
from grange.membership.model.member import Member, SiloStatus, View, make_view
from grange.observability.histogram import Histogram
from grange.observability.snapshot import (
    MembershipSnapshot,
    MethodSnapshot,
    ProcessSnapshot,
    Snapshot,
    TypeSnapshot,
)
from grange.proto.ids import GrainId, SiloAddress
from grange.proto.inspection import FIGURES, FIND, ActivationRow, FindActivations, FoundActivations
from grange.proto.journal import EVENTS, After, EventRow, Events
from grange.silo.dashboard_options import DashboardOptions
from tests.dashboard.shown import ACTIONS, identity_of

STARTED = datetime(2026, 1, 1, tzinfo=UTC)


class FakeSilo:
    """One silo: `answers` by service, each a value or a function of the question; figures that a test moves."""

    def __init__(self, number: int, types: dict[str, str]) -> None:
        self.address = SiloAddress("10.0.0.1", 11110 + number, 1)
        self.name = f"silo-{number}"
        self.types = types
        self.status = SiloStatus.ACTIVE
        self.is_dead = False
        self.lag = 0.0
        self.release = "1.0"
        self.activations: list[ActivationRow] = []
        self.calls = Histogram()
        self.failed = 0
        self.events: list[EventRow] = []
        self.answers: dict[str, Any] = {}
        self.asked: list[tuple[str, bytes]] = []

    @property
    def member(self) -> Member:
        return Member(self.address, self.status, STARTED, STARTED, self.name, gateway=30000, grains=self.types)

    def call(self, count: int, seconds: float, failed: int = 0) -> None:
        for _ in range(count):
            self.calls.observe(seconds)
        self.failed += failed

    def event(self, name: str, time: float, **facts: Any) -> None:
        self.events.append(EventRow(len(self.events) + 1, time, name, f"{name} happened", facts))

    def fill(self, grain_type: str, count: int, seed: int = 0) -> None:
        rng = random.Random(seed)
        self.activations += [
            ActivationRow(
                GrainId(grain_type, f"{rng.getrandbits(40):010x}"), "active", rng.random() * 1000, rng.random() * 100,
                rng.randrange(3), rng.randrange(2), rng.choice((0.0, rng.random() * 5)),
            )
            for _ in range(count)
        ]  # fmt: skip

    def answer(self, service: str, question: bytes) -> Any:
        if service in self.answers:
            given = self.answers[service]
            return given(question) if callable(given) else given
        if service == FIGURES:
            return self.snapshot()
        if service == EVENTS:
            after = msgspec.msgpack.decode(question, type=After)
            rows = [row for row in self.events if row.number > after.number or after.number < 0]
            return Events(self.address, tuple(rows[: after.limit]), len(self.events))
        if service == FIND:
            return self.find(msgspec.msgpack.decode(question, type=FindActivations))
        return None

    def find(self, find: FindActivations) -> FoundActivations:
        order: dict[str, Callable[[ActivationRow], float]] = {
            "key": lambda row: 0, "age": lambda row: -row.age, "idle": lambda row: -row.idle,
            "waiting": lambda row: -row.waiting, "turn": lambda row: -row.turn,
        }  # fmt: skip
        matching = [
            row
            for row in self.activations
            if find.type in ("", row.grain_id.type)
            and row.grain_id.key.startswith(find.prefix)
            and find.contains in row.grain_id.key
            and row.turn >= find.min_turn
        ]
        rows = sorted(matching, key=lambda row: (order[find.sort](row), row.grain_id))
        start = int(find.cursor or 0)
        page = rows[start : start + find.limit]
        cursor = str(start + len(page)) if start + len(page) < len(rows) else ""
        total = len(self.activations)
        return FoundActivations(self.address, tuple(page), len(matching), total, total, cursor=cursor)

    def snapshot(self) -> Snapshot:
        now = asyncio.get_running_loop().time()
        counts = {name: sum(row.grain_id.type == name for row in self.activations) for name in self.types}
        return Snapshot(
            address=self.address, name=self.name, cluster="shop", release=self.release, time=STARTED.timestamp() + now,
            uptime=now, span=now, status=str(self.status), ready=True,
            types=tuple(
                TypeSnapshot(
                    name, placement, counts[name],
                    methods=(MethodSnapshot("add", self.calls.frozen(), self.failed, self.calls.frozen()),),
                )
                for name, placement in self.types.items()
            ),
            membership=MembershipSnapshot(version=3),
            process=ProcessSnapshot(cpu=now * 0.25, rss=1000),
        )  # fmt: skip


class FakeCluster:
    """`WatchedCluster` of such silos. A dead one refuses, one with `lag` answers late."""

    name = "shop"

    def __init__(self, silos: int = 2, types: dict[str, str] | None = None) -> None:
        self.silos = [FakeSilo(number, types or {"cart": "ring"}) for number in range(1, silos + 1)]
        self.gone: list[Member] = []

    @property
    def view(self) -> View:
        return make_view(3, [*(silo.member for silo in self.silos), *self.gone])

    async def ask(self, member: Member, service: str, question: bytes, seconds: float) -> bytes:
        silo = next(silo for silo in self.silos if silo.address == member.address)
        silo.asked.append((service, question))
        if silo.is_dead:
            raise SiloUnavailable("connection refused")
        await asyncio.sleep(silo.lag)
        answer = silo.answer(service, question)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, bytes) else msgspec.msgpack.encode(answer)


@asynccontextmanager
async def shown(
    cluster: FakeCluster, time: Any, actions: Collection[str] = ACTIONS, **options: Any
) -> AsyncGenerator[Dashboard]:
    """The dashboard of such a cluster, in virtual time."""
    dashboard = Dashboard(cluster, DashboardOptions(**options), actions, identity_of, "1.0", utc_now=time.utc_now)
    async with dashboard.app.router.lifespan_context(dashboard.app):
        yield dashboard
