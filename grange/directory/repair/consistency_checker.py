"""Compares the directory with the silos' activations once in a period: finds duplicates and repairs registrations.

There are two comparisons, each page by page and with a limit per period. First, this silo's activations are compared
with the slices of their owners. An activation that is not registered is registered again. If another activation is
registered, and exists, then this silo's one is a duplicate and ends. Second, the entries of this silo's slice are
compared with the silos that they name (`sweep.py`).

A claim or a release in flight looks like a mismatch. Therefore an activation counts only while its claim is won and its
release has not begun, and only if the owner answers the same twice, each time under one view. ADR 0025 argues it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from itertools import islice

import msgspec

from grange.directory.provider import GrainDirectory
from grange.directory.repair.sweep import Sweep
from grange.directory.slice.deps import Slice
from grange.directory.slice.messages import CHECK, Check, Checked, Entry, decode, encode, to_address, to_entry
from grange.directory.slice.partition import Conflict, Refusal
from grange.errors import GrangeError
from grange.observability.catalogue import RegistrationRepaired
from grange.proto.ids import GrainAddress, SiloAddress
from grange.runtime.system_target import SystemTargets

logger = logging.getLogger("grange.directory")

CONFIRM_AFTER = 0.5
"""Seconds between the two comparisons of a mismatch: longer than a claim or a release is in flight."""


class Mismatch(msgspec.Struct, frozen=True):
    """A registered activation of this silo that is not its owner's entry. `other` is that entry, or None."""

    address: GrainAddress
    other: GrainAddress | None


class ConsistencyChecker:
    """This silo's checker. `repaired` counts activations that it registered again."""

    def __init__(self, slice: Slice, directory: GrainDirectory, sweep: Sweep) -> None:
        self.repaired = 0
        self._deps = slice.deps
        self._current = slice.current
        self._partition = slice.partition
        self._report_conflicts = slice.report_conflicts
        self._directory = directory
        self._position = 0
        self._sweep = sweep

    def serve(self, targets: SystemTargets) -> None:
        """Register the system target that answers the comparisons of other silos."""
        targets.serve(CHECK, self._answer_check)

    async def run(self) -> None:
        """Compare once per `check_period`, with 25% jitter, until cancelled."""
        while True:
            await asyncio.sleep(self._deps.options.check_period * self._deps.rng.uniform(0.75, 1.25))
            try:
                await self.compare()
            except Exception:
                logger.exception("the directory could not be compared; the next period tries again")

    async def compare(self) -> None:
        """Run the comparisons of one period. Activations in our own slice cost no message."""
        if self._deps.me not in self._current.topology.live:
            return
        mismatches: list[Mismatch] = []
        for page in self._activations():
            mismatches += await self._compare(page)
            await asyncio.sleep(0)
        before = self.repaired, self._sweep.removed
        if mismatches:
            await asyncio.sleep(CONFIRM_AFTER)
            for mismatch in await self._confirmed(mismatches):
                await self._resolve(mismatch)
        await self._sweep.run_once()
        repaired, stale = self.repaired - before[0], self._sweep.removed - before[1]
        if repaired or stale:
            self._deps.events.publish(RegistrationRepaired(repaired, stale))

    def _activations(self) -> Iterable[list[GrainAddress]]:
        """Pages of this silo's registered activations: up to `check_limit`, from where the last period stopped."""
        options = self._deps.options
        chosen = iter(self._deps.registered(self._position, options.check_limit))
        page = list(islice(chosen, options.check_page))
        if not page and self._position:
            self._position = 0
            chosen = iter(self._deps.registered(0, options.check_limit))
            page = list(islice(chosen, options.check_page))
        self._position += options.check_limit
        while page:
            yield page
            page = list(islice(chosen, options.check_page))

    async def _compare(self, addresses: Sequence[GrainAddress]) -> list[Mismatch]:
        topology = self._current.topology
        by_owner: dict[SiloAddress, list[GrainAddress]] = {}
        mismatches: list[Mismatch] = []
        for address in addresses:
            entry = self._partition.lookup(address.grain_id)
            if entry is Refusal.NOT_OWNER:
                owner = topology.owner(address.grain_id.ring_hash)
                if owner is not None:
                    by_owner.setdefault(owner, []).append(address)
            elif not isinstance(entry, Refusal) and not address.same_activation(entry):
                mismatches.append(Mismatch(address, entry))
        for owner, owned in by_owner.items():
            mismatches += await self._ask_owner(owner, topology.version, owned)
        return mismatches

    async def _ask_owner(self, owner: SiloAddress, version: int, addresses: list[GrainAddress]) -> list[Mismatch]:
        request = encode(Check(version, tuple(to_entry(address) for address in addresses)))
        try:
            reply = await self._deps.ask(owner, CHECK, request, self._deps.options.ask_timeout)
            answer = decode(Checked, reply)
        except GrangeError as error:
            logger.info("silo %s did not compare its entries; the next period asks again: %s", owner, error)
            return []
        if answer.version != version or self._current.topology.version != version:
            return []  # ranges are moving between silos
        return [
            Mismatch(addresses[index], None if entry is None else to_address(entry))
            for index, entry in answer.mismatches
        ]

    async def _confirmed(self, mismatches: list[Mismatch]) -> list[Mismatch]:
        still = [mismatch for mismatch in mismatches if self._deps.is_registered(mismatch.address)]
        before = {mismatch.address.activation: mismatch.other for mismatch in still}
        addresses = iter([mismatch.address for mismatch in still])
        again: list[Mismatch] = []
        while page := list(islice(addresses, self._deps.options.check_page)):
            again += await self._compare(page)
        return [mismatch for mismatch in again if mismatch.other == before[mismatch.address.activation]]

    async def _resolve(self, mismatch: Mismatch) -> None:
        address, other = mismatch.address, mismatch.other
        if other is not None:
            absent = await self._sweep.absent(other.silo, [other])
            if absent is None or not self._deps.is_registered(address):
                return
            if not absent:
                self._report_conflicts([Conflict(other, address)])
                return
        try:
            winner = await self._directory.register(address, other)
            if not self._deps.is_registered(address):
                await self._directory.unregister(address)  # released meanwhile, perhaps before our registration
            elif winner.same_activation(address):
                self.repaired += 1
                logger.info("%s was not in the directory and is registered again", address)
        except GrangeError as error:
            logger.warning("%s is not in the directory, and could not be registered: %s", address, error)

    async def _answer_check(self, data: bytes) -> bytes:
        """The system target `directory.check`: lists the given activations that are not our entry of their grain."""
        request = decode(Check, data)
        mismatches: list[tuple[int, Entry | None]] = []
        for index, entry in enumerate(request.entries):
            address = to_address(entry)
            known = self._partition.lookup(address.grain_id)
            if not isinstance(known, Refusal) and not address.same_activation(known):
                mismatches.append((index, None if known is None else to_entry(known)))
        return encode(Checked(self._partition.version, tuple(mismatches)))
