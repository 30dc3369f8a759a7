"""The runtime of one silo, without membership, directory and silo, for the tests of this room."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import svcs

from grange.aio.eager import EagerStart
from grange.aio.loop_binding import LoopBinding
from grange.aio.tasks import Tasks
from grange.grains.facets import FacetFactory
from grange.grains.grain import Grain
from grange.grains.ref import GrainFactory, ReferenceExtension
from grange.grains.registry import RegisteredServices
from grange.proto.acts import Asker, Level
from grange.proto.faults import Faults
from grange.proto.handshake import Role
from grange.proto.ids import GrainAddress, GrainId, SiloAddress
from grange.proto.values import ValueCodec
from grange.runtime.activations.activation import Activation
from grange.runtime.activations.catalog import Catalog
from grange.runtime.activations.collector import Collector
from grange.runtime.activations.deps import ActivationDeps
from grange.runtime.activations.hosted import HostedType, SiloRules
from grange.runtime.calls.admission import Admission
from grange.runtime.calls.caller import Caller
from grange.runtime.calls.inbound import Inbound
from grange.runtime.calls.outgoing import CallerDeps
from grange.runtime.calls.sender import Sender
from grange.runtime.locator import Claims, LocalOnly, Locator
from grange.runtime.options import RuntimeOptions
from grange.runtime.requests.deadlines import Deadlines
from grange.runtime.requests.invocation import Invocation
from grange.runtime.requests.plan import MethodPlan, Plans
from grange.runtime.requests.refusal import Refused
from grange.runtime.system_target import SystemTargets

HERE = SiloAddress("127.0.0.1", 11111, 1)


class Process:
    """One silo's runtime, assembled as `silo/preparing.py` does. `locator` and `claims` may be replaced."""

    def __init__(
        self,
        *grains: type[Grain[Any]],
        locator: Locator | None = None,
        claims: Claims | None = None,
        options: RuntimeOptions | None = None,
        services: svcs.Registry | None = None,
        facets: Mapping[Any, FacetFactory] | None = None,
    ) -> None:
        self.options = options or RuntimeOptions()
        self.deadlines, self.faults, self.tasks = Deadlines(), Faults(), Tasks()
        self.binding = LoopBinding("this silo")
        references = ReferenceExtension()
        plans = Plans(ValueCodec([references]))
        self.sender = Sender(self.deadlines, self.faults)
        self.locator = locator or LocalOnly(HERE)
        deps = self.calls = CallerDeps(self.sender, self.faults, self.deadlines, self.options, self.binding, HERE)
        self.caller = Caller(deps, self.locator, plans, random.Random(0))
        self.grains = GrainFactory(self.caller.call, lambda _: NO_CANDIDATES)
        references.bind(self.grains)
        self.deps = ActivationDeps(
            HERE, self.options, self.grains, self.faults, EagerStart(), self.tasks, random.Random(0), self.binding
        )  # fmt: skip
        registered = RegisteredServices(services or svcs.Registry())
        hosted = [HostedType(cls, plans, facets or {}, registered, SiloRules(self.options)) for cls in grains]
        self.faults.register(error for each in hosted for error in each.options.errors)
        self.collector = Collector(self.options.collect_period)
        self.catalog = deps.catalog = Catalog(
            self.deps, {each.name: each for each in hosted}, claims or LocalOnly(HERE), self.collector
        )
        self.catalog.open()
        self.level = Level.ADMIN
        self.targets = SystemTargets(lambda peer: Asker(peer.hello.name, self.level, peer.hello.role is Role.SILO))
        self.admission = Admission(self.options, self.catalog.has_small_answer)
        self.inbound = Inbound(self.catalog, self.targets, self.faults, self.tasks, self.admission)

    def activation(self, reference: Any) -> Activation:
        """The live activation behind a reference."""
        (found,) = [each for each in self.catalog.activations() if each.grain_id == reference.id]
        return found

    async def close(self) -> None:
        await self.caller.close()
        await self.catalog.cancel_turns()
        await self.tasks.close()
        self.deadlines.close()


class _NoCandidates:
    types = ()
    default = None


NO_CANDIDATES = _NoCandidates()


class Gate:
    """A point where code waits until the test lets it go on, and where the test sees that the code has arrived."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()

    async def pass_through(self) -> None:
        self.reached.set()
        await self.opened.wait()


class ScriptedClaims:
    """A `runtime.locator.Claims` that records its calls and gives scripted answers."""

    def __init__(self, winner: Callable[[GrainAddress, GrainAddress | None], GrainAddress] | None = None) -> None:
        self.claimed: list[tuple[GrainAddress, GrainAddress | None]] = []
        self.released: list[GrainAddress] = []
        self.winner = winner or (lambda address, _: address)
        self.gate: Gate | None = None
        self.release_error: Exception | None = None

    def claim_now(self, address: GrainAddress) -> GrainAddress | None:
        return None

    async def claim(self, address: GrainAddress, previous: GrainAddress | None = None) -> GrainAddress:
        self.claimed.append((address, previous))
        if self.gate is not None:
            await self.gate.pass_through()
        return self.winner(address, previous)

    async def release(self, address: GrainAddress) -> None:
        self.released.append(address)
        if self.release_error is not None:
            raise self.release_error


class RecordedCall(Invocation):
    """A request that records its outcome."""

    refused: list[Refused]
    values: list[Any] = msgspec.field(default_factory=list)

    def arguments(self, plan: MethodPlan) -> tuple[Any, ...]:
        return ()

    def started(self) -> None:
        """Do nothing."""

    def succeed(self, plan: MethodPlan | None, value: Any) -> None:
        self.values.append(value)

    def fail(self, error: BaseException) -> None:
        self.values.append(error)

    def refuse(self, refused: Refused) -> None:
        self.refused.append(refused)


def recorded_call(grain_id: GrainId, refused: list[Refused], method: str = "work") -> RecordedCall:
    """A request without a deadline, which appends its refusal to `refused`."""
    return RecordedCall(grain_id, method, math.inf, None, None, refused)


async def settle(rounds: int = 20) -> None:
    """Run all tasks that are ready, without moving the clock."""
    for _ in range(rounds):
        await asyncio.sleep(0)


def grain_id(name: str, key: str = "a") -> GrainId:
    return GrainId(name, key)
