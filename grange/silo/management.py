"""See and steer one silo, as system targets: what clients, the command line and later the dashboard ask for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from grange.directory.cluster import Findings
from grange.membership.model.member import SiloStatus, View
from grange.proto.ids import GrainId, SiloAddress
from grange.runtime.activations.catalog import Catalog
from grange.runtime.activations.collector import idle_for
from grange.runtime.system_target import SystemTargets

VIEW = "management.view"
STATUS = "management.status"
GRAINS = "management.grains"
COLLECT = "management.collect"

MAX_LISTED = 1000
"""Activations in one answer; listings say when they were cut off."""


class SiloState(msgspec.Struct, frozen=True):
    """How one silo is: `activations` by grain type, `uptime` in seconds, `requests` in progress from outside.

    `ready`: it is active and takes new grains; not while it joins or leaves. `duplicates`, `repaired` and `stale` count
    what the duplicate-activation detector of this silo found since the start (`Findings`). `table` is "ok",
    "unreachable" or "lost"; `fenced` says why the silo starts no turns, and is empty while it does.
    `score` is its local health, 0 (well) to 8; `withheld` counts its votes that a live connection withheld.
    """

    address: SiloAddress
    name: str
    version: int
    uptime: float
    activations: dict[str, int]
    requests: int
    ready: bool = True
    duplicates: int = 0
    repaired: int = 0
    stale: int = 0
    table: str = "ok"
    fenced: str = ""
    score: int = 0
    withheld: int = 0


class Standing(msgspec.Struct, frozen=True):
    """What membership says of one silo: its `view`, how the `table` is, why it is `fenced`; see `SiloState`."""

    view: View
    table: str
    fenced: str
    score: int = 0
    withheld: int = 0


class ListGrains(msgspec.Struct, frozen=True):
    """Which activations to list: of one type, or of all when it is empty."""

    type: str = ""
    limit: int = MAX_LISTED


class ActivationState(msgspec.Struct, frozen=True):
    """One activation: `idle` in seconds; `waiting` and `running` count requests."""

    grain_id: GrainId
    phase: str
    idle: float
    waiting: int
    running: int


class GrainList(msgspec.Struct, frozen=True):
    """Activations of one silo; `total` counts all that matched."""

    address: SiloAddress
    activations: tuple[ActivationState, ...]
    total: int


class Collect(msgspec.Struct, frozen=True):
    """End activations that have been idle for so many seconds."""

    age: float


def encode(message: msgspec.Struct | int) -> bytes:
    """A question or answer for the wire."""
    return msgspec.msgpack.encode(message)


class Management:
    """One silo's answers. Offered on the silo port and on the gateway."""

    def __init__(
        self,
        address: SiloAddress,
        name: str,
        catalog: Catalog,
        standing: Callable[[], Standing],
        requests: Callable[[], int],
        findings: Callable[[], Findings],
    ) -> None:
        self._address = address
        self._name = name
        self._catalog = catalog
        self._standing = standing
        self._requests = requests
        self._findings = findings
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.time()

    def serve(self, targets: SystemTargets) -> None:
        """Offer the services."""
        targets.serve(VIEW, self._answer_view)
        targets.serve(STATUS, self._answer_status)
        targets.serve(GRAINS, self._answer_grains)
        targets.serve(COLLECT, self._answer_collect)

    def state(self) -> SiloState:
        """How this silo is now."""
        uptime = self._loop.time() - self._started
        counts = self._catalog.counts()
        standing = self._standing()
        view = standing.view
        own = view.get(self._address)
        ready = own is not None and own.status is SiloStatus.ACTIVE
        found = self._findings()
        return SiloState(
            self._address,
            self._name,
            view.version,
            uptime,
            counts,
            self._requests(),
            ready,
            found.duplicates,
            found.repaired,
            found.stale,
            standing.table,
            standing.fenced,
            standing.score,
            standing.withheld,
        )

    def grains(self, wanted: ListGrains) -> GrainList:
        """Activations of this silo."""
        now = self._loop.time()
        matching = [a for a in self._catalog.activations() if not wanted.type or a.grain_id.type == wanted.type]
        listed = tuple(
            ActivationState(
                activation.grain_id,
                activation.phase.name.lower(),
                max(0.0, now - activation.last_used),
                activation.mailbox.depth,
                len(activation.mailbox.running),
            )
            for activation in matching[: max(0, min(wanted.limit, MAX_LISTED))]
        )
        return GrainList(self._address, listed, len(matching))

    async def _answer_view(self, _: bytes) -> bytes:
        return encode(self._standing().view)

    async def _answer_status(self, _: bytes) -> bytes:
        return encode(self.state())

    async def _answer_grains(self, question: bytes) -> bytes:
        return encode(self.grains(msgspec.msgpack.decode(question, type=ListGrains)))

    async def _answer_collect(self, question: bytes) -> bytes:
        age = msgspec.msgpack.decode(question, type=Collect).age
        now = self._loop.time()
        return encode(self._catalog.deactivate_where(lambda a: idle_for(a, age, now), f"collected after {age:g} s"))
