"""A grain lets the calls that descend from its own come back, where it says so, and no others."""

from __future__ import annotations

import asyncio

import pytest

from grange import CallError, Grain, allow_reentrancy, always_interleave, response_timeout, suppress_reentrancy
from grange.testing import TestCluster

A_CALL = 5.0
"""Seconds: the response time-out of the clusters of this file."""


class Hop(Grain):
    """Calls the next grain of a route, within a section of its own."""

    def __init__(self) -> None:
        self.depth = 0
        self.deepest = 0

    async def go(self, route: list[str]) -> int:
        """Follow the route of keys. Returns the most turns of this grain that ran at once."""
        self.depth += 1
        self.deepest = max(self.deepest, self.depth)
        try:
            if route:
                with allow_reentrancy():
                    await self.get_grain(kind(route[0]), route[0]).go(route[1:])
            return self.deepest
        finally:
            self.depth -= 1


class Loop(Grain, reentrant=True):
    """As `Hop`, without sections."""

    async def go(self, route: list[str]) -> int:
        if route:
            await self.get_grain(kind(route[0]), route[0]).go(route[1:])
        return len(route)


def kind(key: str) -> type[Hop] | type[Loop]:
    return Loop if key.startswith("r") else Hop


def cluster(silos: int) -> TestCluster:
    return TestCluster(
        grains=[Hop, Loop, Owner, Visitor, Late, Between], silos=silos, runtime={"response_timeout": A_CALL}
    )


class Owner(Grain):
    """Opens sections in many ways, and has the visitor call back."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.gate = asyncio.Event()

    async def note(self, text: str) -> None:
        self.notes.append(text)

    @always_interleave
    async def noted(self) -> list[str]:
        return self.notes

    @always_interleave
    async def open_gate(self) -> None:
        self.gate.set()

    async def nested(self, visitor: str) -> list[str]:
        there = self.get_grain(Visitor, visitor)
        with allow_reentrancy():
            with allow_reentrancy():
                await there.visit(self.reference, "inner")
            await there.visit(self.reference, "outer")
        with pytest.raises(CallError):
            await there.visit(self.reference, "after")
        return self.notes

    async def suppressed(self, visitor: str) -> list[str]:
        there = self.get_grain(Visitor, visitor)
        with allow_reentrancy():
            with suppress_reentrancy():
                with pytest.raises(CallError):
                    await there.visit(self.reference, "suppressed")
                with allow_reentrancy():
                    await there.visit(self.reference, "allowed again")
            await there.visit(self.reference, "restored")
        return self.notes

    async def held(self) -> None:
        with allow_reentrancy():
            await self.gate.wait()

    async def closed_before(self, visitor: str) -> None:
        with allow_reentrancy():
            late = asyncio.ensure_future(self.get_grain(Visitor, visitor).visit_late(self.reference, "late"))
            await asyncio.sleep(0.5)
        await self.gate.wait()
        assert not late.done()
        self.late = late

    async def end_of_late(self) -> None:
        await self.late


class Visitor(Grain, reentrant=True):
    """Calls a grain back."""

    async def visit(self, owner: Owner, text: str) -> None:
        await owner.note(text)

    async def visit_late(self, owner: Owner, text: str) -> None:
        await asyncio.sleep(1)
        await owner.note(text)


class Late(Grain):
    """Opens a section, and then lets a grain suppress it further down."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    async def note(self, text: str) -> None:
        self.notes.append(text)

    @response_timeout(20)
    async def through(self, visitor: str) -> list[str]:
        with allow_reentrancy():
            await self.get_grain(Between, visitor).visit(self.reference, "down")
        return self.notes


class Between(Grain):
    """Stands between a grain and its visitor, and suppresses."""

    @response_timeout(20)
    async def visit(self, owner: Late, text: str) -> None:
        with suppress_reentrancy(), pytest.raises(CallError):
            await owner.note(text)
        await owner.note(f"{text}, not suppressed")


@pytest.mark.parametrize("silos", [1, 3])
async def test_a_chain_comes_back(silos: int) -> None:
    """REE-06: A->A, A->B->A and A->B->C->A complete on grains that take one request at a time, 30 times each."""
    async with cluster(silos) as running:
        for number in range(30):
            a, b, c = f"a{number}", f"b{number}", f"c{number}"
            assert await running.get_grain(Hop, a).go([a]) == 2
            assert await running.get_grain(Hop, a).go([b, a]) == 2
            assert await running.get_grain(Hop, a).go([b, c, a]) == 2


async def test_a_chain_comes_back_again_and_again() -> None:
    """REE-06: chains that mix reentrant grains and others, and revisit both, complete."""
    async with cluster(2) as running:
        assert await running.get_grain(Hop, "a").go(["b", "c", "a", "b", "c", "a"]) == 3
        assert await running.get_grain(Hop, "a").go(["b", "a", "b", "a", "a"]) == 4
        assert await running.get_grain(Hop, "x").go(["b", "r1", "c", "r1", "x", "b", "r2", "x", "c", "r2"]) == 3
        assert await running.get_grain(Loop, "r1").go(["r2", "y", "r1", "r2", "y", "r2"]) == 6


async def test_sections_nest_and_end() -> None:
    async with cluster(2) as running:
        assert await running.get_grain(Owner, "o").nested("v") == ["inner", "outer"]


async def test_a_section_is_suppressed_and_restored() -> None:
    async with cluster(2) as running:
        assert await running.get_grain(Owner, "o").suppressed("v") == ["allowed again", "restored"]


async def test_a_grain_suppresses_what_its_callers_allow() -> None:
    async with cluster(2) as running:
        assert await running.get_grain(Late, "l").through("v") == ["down, not suppressed"]


async def test_another_chain_waits() -> None:
    """Only the chain of the section comes back: a request of a client, or of another turn, waits."""
    async with cluster(2) as running:
        owner = running.get_grain(Owner, "o")
        held = asyncio.ensure_future(owner.held())
        await running.advance(0.1)
        sibling = asyncio.ensure_future(running.get_grain(Visitor, "v").visit(owner, "sibling"))
        direct = asyncio.ensure_future(owner.note("client"))
        await running.advance(1)
        assert await owner.noted() == []
        await owner.open_gate()
        await asyncio.gather(held, sibling, direct)
        assert sorted(await owner.noted()) == ["client", "sibling"]


async def test_a_section_that_has_ended_admits_nothing() -> None:
    """A call of the section that comes back after its end waits as usual, although the turn still runs."""
    async with cluster(2) as running:
        owner = running.get_grain(Owner, "o")
        turn = asyncio.ensure_future(owner.closed_before("v"))
        await running.advance(3)
        assert await owner.noted() == []
        await owner.open_gate()
        await turn
        await owner.end_of_late()
        assert await owner.noted() == ["late"]


def test_a_section_outside_a_grain_is_an_error() -> None:
    for section in (allow_reentrancy, suppress_reentrancy):
        with pytest.raises(RuntimeError, match="in a method or a timer of a grain"), section():
            raise AssertionError
