"""Compares the directory with what the silos run, all the time: finds duplicates, and repairs registrations.

Two comparisons, each a page at a time and with a limit per period. What we run is compared with its owners' slices:
what is not registered is registered again; where another activation is registered, and is really there, ours is a
duplicate and ends. What our slice holds is compared with the silos it names (`sweep.py`).

A claim or a release on its way looks like a finding. So ours count only while the claim is won and not yet given
back, and only if the owner says the same twice, under one view.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from itertools import islice

import msgspec

from grange.directory.provider import GrainDirectory
from grange.directory.repair.sweep import Sweep
from grange.directory.slice.messages import CHECK, Check, Checked, decode, encode, to_address, to_entry
from grange.directory.slice.partition import Conflict, Refusal
from grange.directory.slice.slice import Slice
from grange.errors import GrangeError
from grange.proto.ids import GrainAddress, SiloAddress
from grange.runtime.system_target import SystemTargets

logger = logging.getLogger(__name__)

CONFIRM_AFTER = 0.5
"""Seconds between the two looks at a finding: longer than a claim or a release is on its way."""


class Mismatch(msgspec.Struct, frozen=True):
    """An activation of ours that its owner does not have; `other` is what it has in its place."""

    address: GrainAddress
    other: GrainAddress | None


class ConsistencyChecker:
    """One silo's part. `repaired` counts activations that were registered again."""

    def __init__(self, slice: Slice, directory: GrainDirectory, sweep: Sweep) -> None:
        self.repaired = 0
        self._deps = slice.deps
        self._current = slice.current
        self._partition = slice.partition
        self._report = slice.report
        self._directory = directory
        self._position = 0
        self._sweep = sweep

    def serve(self, targets: SystemTargets) -> None:
        """Answer the comparisons of other silos."""
        targets.serve(CHECK, self._answer_check)

    async def run(self) -> None:
        """Compare once in a period, until cancelled."""
        while True:
            await asyncio.sleep(self._deps.options.check_period * self._deps.random.uniform(0.75, 1.25))
            try:
                await self.compare()
            except Exception:
                logger.exception("the directory could not be compared; the next period tries again")

    async def compare(self) -> None:
        """One period's comparison. Costs no message where everything is local."""
        if self._deps.me not in self._current.topology.live:
            return
        found: list[Mismatch] = []
        for page in self._activations():
            found += await self._compare(page)
            await asyncio.sleep(0)
        before = self.repaired, self._sweep.removed
        if found:
            await asyncio.sleep(CONFIRM_AFTER)
            for mismatch in await self._confirmed(found):
                await self._settle(mismatch)
        await self._sweep.once()
        repaired, stale = self.repaired - before[0], self._sweep.removed - before[1]
        if repaired or stale:
            logger.warning(
                "the directory was repaired: %d activations registered again, %d entries without an activation removed",
                repaired,
                stale,
                extra={"event": "registration_repaired"},
            )

    def _activations(self) -> Iterable[list[GrainAddress]]:
        """Where we left off, as many as the limit allows."""
        options = self._deps.options
        all_of_them = iter(self._deps.registered())
        chosen = islice(all_of_them, self._position, self._position + options.check_limit)
        seen = 0
        while page := list(islice(chosen, options.check_page)):
            seen += len(page)
            yield page
        self._position = self._position + seen if seen == options.check_limit else 0

    async def _compare(self, addresses: Sequence[GrainAddress]) -> list[Mismatch]:
        topology = self._current.topology
        by_owner: dict[SiloAddress, list[GrainAddress]] = {}
        found: list[Mismatch] = []
        for address in addresses:
            entry = self._partition.lookup(address.grain_id)
            if entry is Refusal.NOT_OWNER:
                owner = topology.owner(address.grain_id.ring_hash)
                if owner is not None:
                    by_owner.setdefault(owner, []).append(address)
            elif not isinstance(entry, Refusal) and not address.same_activation(entry):
                found.append(Mismatch(address, entry))
        for owner, theirs in by_owner.items():
            found += await self._ask_owner(owner, topology.version, theirs)
        return found

    async def _ask_owner(self, owner: SiloAddress, version: int, addresses: list[GrainAddress]) -> list[Mismatch]:
        question = encode(Check(version, tuple(to_entry(address) for address in addresses)))
        try:
            reply = await self._deps.ask(owner, CHECK, question, self._deps.options.ask_timeout)
            answer = decode(Checked, reply)
        except GrangeError as error:
            logger.info("silo %s did not compare; next time: %s", owner, error)
            return []
        if answer.version != version or self._current.topology.version != version:
            return []  # ranges are moving
        return [
            Mismatch(addresses[index], None if entry is None else to_address(entry)) for index, entry in answer.findings
        ]

    async def _confirmed(self, found: list[Mismatch]) -> list[Mismatch]:
        still = [mismatch for mismatch in found if self._deps.is_registered(mismatch.address)]
        before = {mismatch.address.activation: mismatch.other for mismatch in still}
        addresses = iter([mismatch.address for mismatch in still])
        again: list[Mismatch] = []
        while page := list(islice(addresses, self._deps.options.check_page)):
            again += await self._compare(page)
        return [mismatch for mismatch in again if mismatch.other == before[mismatch.address.activation]]

    async def _settle(self, mismatch: Mismatch) -> None:
        address, other = mismatch.address, mismatch.other
        if other is not None:
            absent = await self._sweep.absent(other.silo, [other])
            if absent is None or not self._deps.is_registered(address):
                return
            if not absent:
                self._report([Conflict(other, address)])
                return
        try:
            winner = await self._directory.register(address, other)
            if not self._deps.is_registered(address):
                await self._directory.unregister(address)  # it was released meanwhile, perhaps before we registered it
            elif winner.same_activation(address):
                self.repaired += 1
                logger.info("%s was not in the directory and is registered again", address)
        except GrangeError as error:
            logger.warning("%s is not in the directory, and could not be registered: %s", address, error)

    async def _answer_check(self, data: bytes) -> bytes:
        """The system target `directory.check`: what our slice has for these activations of the asker."""
        question = decode(Check, data)
        findings: list[tuple[int, GrainAddress | None]] = []
        for index, entry in enumerate(question.entries):
            address = to_address(entry)
            known = self._partition.lookup(address.grain_id)
            if not isinstance(known, Refusal) and not address.same_activation(known):
                findings.append((index, known))
        told = tuple((index, None if known is None else to_entry(known)) for index, known in findings)
        return encode(Checked(self._partition.version, told))
