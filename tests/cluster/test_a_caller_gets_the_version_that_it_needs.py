"""A caller gets the version of an interface that it needs: silos with several versions of a grain in one cluster.

The interfaces and classes of a name are versions of one contract and one grain, as two releases of an application have
them.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import msgspec
import pytest

from grange import (
    ConfigurationError,
    DeadlockError,
    Grain,
    GrainInterface,
    NoSuchGrain,
    PersistentState,
    placement_hint,
)
from grange.placement.loads import LoadRow
from grange.placement.versions import Compatibility, Selection, VersionRules
from grange.proto.acts import ACT, Act, Acted, Action, Outcome
from grange.proto.ids import SiloAddress
from grange.silo.silo import Silo
from grange.testing import TestCluster


class Version1(GrainInterface, name="cart_api", version=1):
    async def answer(self) -> int: ...


class Version2(GrainInterface, name="cart_api", version=2):
    async def answer(self) -> int: ...

    async def added(self) -> str: ...


class Cart1(Grain, Version1, name="cart"):
    async def answer(self) -> int:
        return 1


class Cart2(Grain, Version2, name="cart"):
    async def answer(self) -> int:
        return 2

    async def added(self) -> str:
        return "the new method"


def mixed(**rules: str) -> TestCluster:
    """A cluster whose silo hosts version 1 of the cart."""
    return TestCluster([Cart1], silos=1, versions=rules)


async def keys_of(cluster: TestCluster, interface: type[Any], keys: range) -> Counter[int]:
    """The versions that answer for these keys."""
    return Counter([await cluster.get_grain(interface, f"k{key}").answer() for key in keys])


@pytest.mark.parametrize(("selection", "new"), [("minimum", 1), ("latest", 2)])
async def test_a_selection_says_where_new_grains_are(selection: str, new: int) -> None:
    """VER-01: new activations have the selected version; existing ones stay; without version 2 all answer 1."""
    async with mixed(selection=selection) as cluster:
        assert await keys_of(cluster, Version1, range(10)) == {1: 10}
        second = await cluster.add_silo(grains=[Cart2])
        assert await keys_of(cluster, Version1, range(10)) == {1: 10}, "existing activations stay"
        assert await keys_of(cluster, Version1, range(10, 30)) == {new: 20}
        await cluster.stop(second)
        assert await keys_of(cluster, Version1, range(30)) == {1: 30}


async def test_a_new_method_reaches_the_silo_that_has_it() -> None:
    """VER-01: a caller of version 2 gets version 2, also of a grain that is active in version 1."""
    async with mixed() as cluster:
        assert await keys_of(cluster, Version1, range(10)) == {1: 10}
        second = await cluster.add_silo(grains=[Cart2])
        for key in range(20):
            assert await cluster.get_grain(Version2, f"k{key}").added() == "the new method"
            assert cluster.where(cluster.get_grain(Version2, f"k{key}")) is second
        assert await keys_of(cluster, Version1, range(20)) == {2: 20}, "version 2 serves callers of version 1"


async def test_all_versions_may_be_compatible() -> None:
    """VER-03: the activation of version 1 is kept for a caller of version 2, and new grains are on both versions."""
    async with TestCluster([Cart1], silos=1, versions={"compatibility": "all"}) as cluster:
        assert await cluster.get_grain(Version1, "old").answer() == 1
        await cluster.add_silo(grains=[Cart2])
        assert await cluster.get_grain(Version2, "old").answer() == 1
        answers = await keys_of(cluster, Version2, range(200))
        assert 70 <= answers[1] <= 130
        assert answers.total() == 200


async def test_a_strict_caller_gets_exactly_its_version() -> None:
    """VER-01: with strict rules each caller gets its own version, and moves the grain there."""
    async with mixed(compatibility="strict") as cluster:
        await cluster.add_silo(grains=[Cart2])
        for key in range(5):
            for _ in range(2):
                assert await cluster.get_grain(Version1, f"k{key}").answer() == 1
                assert await cluster.get_grain(Version2, f"k{key}").answer() == 2


async def test_a_version_that_no_silo_serves_is_refused_by_name() -> None:
    """VER-01: a caller of a version that no silo serves gets NoSuchGrain at once, and ends no activation."""
    async with mixed() as cluster:
        old = cluster.get_grain(Version1, "ann")
        assert await old.answer() == 1
        before = cluster.activation(old)
        with pytest.raises(NoSuchGrain, match="has version 1 of cart_api, and the caller needs version 2"):
            await cluster.get_grain(Version2, "ann").added()
        with pytest.raises(NoSuchGrain, match="no active silo serves"):
            await cluster.get_grain(Version2, "new").added()
        assert cluster.activation(old) is before
        assert cluster.count() == 1


class Notes1(GrainInterface, name="notes_api", version=7):
    async def note(self) -> str: ...


class Both1(Grain, Version1, Notes1, name="both"):
    async def answer(self) -> int:
        return 1

    async def note(self) -> str:
        return "of version 1"


class Both2(Grain, Version2, Notes1, name="both"):
    async def answer(self) -> int:
        return 2

    async def added(self) -> str:
        return "the new method"

    async def note(self) -> str:
        return "of version 2"


async def test_each_interface_has_versions_of_its_own() -> None:
    """VER-01: a caller of another interface of the grain stays where it is, although its number is higher."""
    async with TestCluster([Both1], silos=1) as cluster:
        await cluster.add_silo(grains=[Both2])
        first = cluster.silos[0]
        keys = [f"k{key}" for key in range(30)]
        for key in keys:
            await cluster.get_grain(Notes1, key).note()
        on_first = [key for key in keys if cluster.where(cluster.get_grain(Notes1, key)) is first]
        assert on_first
        for key in on_first:
            assert await cluster.get_grain(Notes1, key).note() == "of version 1"
        assert await cluster.get_grain(Version2, on_first[0]).added() == "the new method"
        assert await cluster.get_grain(Notes1, on_first[0]).note() == "of version 2"


class Slow1(Grain, Version1, name="slow"):
    """A cart whose turns wait for the test."""

    def __init__(self, state: PersistentState[int]) -> None:
        self.state = state

    async def answer(self) -> int:
        begun.set()
        await go_on.wait()
        self.state.value = 1
        await self.state.write()
        return 1


class Slow2(Grain, Version2, name="slow"):
    def __init__(self, state: PersistentState[int]) -> None:
        self.state = state

    async def answer(self) -> int:
        return 2

    async def added(self) -> str:
        return f"after {self.state.value}"


begun, go_on = asyncio.Event(), asyncio.Event()


async def test_a_running_turn_of_the_old_version_completes_first() -> None:
    """VER-01: a caller of version 2 waits for the turn of version 1, and reads what that has written."""
    begun.clear()
    go_on.clear()
    async with TestCluster([Slow1], silos=1) as cluster:
        old = asyncio.create_task(_answer(cluster, Version1))
        await begun.wait()
        await cluster.add_silo(grains=[Slow2])
        new = asyncio.create_task(_added(cluster))
        await cluster.advance(2)
        assert not new.done()
        go_on.set()
        assert await old == 1
        assert await new == "after 1"


class Circle1(Grain, Version1, name="circle"):
    async def answer(self) -> int:
        return await self.get_grain(Caller2, "back").count(self.key)


class Circle2(Grain, Version2, name="circle"):
    async def answer(self) -> int:
        return 2

    async def added(self) -> str:
        return "of version 2"


class Caller2(Grain):
    """Calls by version 2."""

    def __init__(self) -> None:
        self.cycle: list[str] = []
        self.remedy = ""

    async def count(self, key: str) -> int:
        try:
            await self.get_grain(Version2, key, implementation="circle").added()
        except DeadlockError as error:
            self.cycle = [f"{grain}.{method}" for grain, method in error.cycle]
            self.remedy = str(error).rpartition("; ")[2]
        return len(self.cycle)

    async def found(self) -> list[str]:
        return [*self.cycle, self.remedy]


@pytest.mark.parametrize("caller_is_near", [True, False])
async def test_a_turn_that_is_called_back_by_another_version_is_a_named_deadlock(caller_is_near: bool) -> None:
    """VER-01, REE-01: the new version cannot begin before the turn ends; afterwards it does."""
    async with TestCluster([Circle1, Caller2], silos=1) as cluster:
        circle = cluster.get_grain(Version1, "ann", implementation="circle")
        first, second = cluster.silos[0], await cluster.add_silo(grains=[Circle2, Caller2])
        with placement_hint((first if caller_is_near else second).address):
            await cluster.get_grain(Caller2, "back").found()
        with placement_hint(first.address):
            async with asyncio.timeout(3):
                assert await circle.answer() == 3
        assert await cluster.get_grain(Caller2, "back").found() == [
            "circle/ann.answer", "caller2/back.count", "circle/ann.added",
            "have all calls of such a circle need one version",
        ]  # fmt: skip
        assert await cluster.get_grain(Version2, "ann", implementation="circle").added() == "of version 2"


async def _answer(cluster: TestCluster, interface: type[Version1]) -> int:
    return await cluster.get_grain(interface, "ann").answer()


async def _added(cluster: TestCluster) -> str:
    return await cluster.get_grain(Version2, "ann").added()


class Worker1(Grain, Version1, name="worker", stateless_workers=2):
    async def answer(self) -> int:
        return 1


class Worker2(Grain, Version2, name="worker", stateless_workers=2):
    async def answer(self) -> int:
        return 2

    async def added(self) -> str:
        return "the new method"


async def test_stateless_workers_have_versions_too() -> None:
    """VER-01: a new method of stateless workers runs on a silo that has it, also if its caller's silo hosts workers."""
    async with TestCluster([Worker1], silos=2) as cluster:
        await cluster.add_silo(grains=[Worker2])
        for silo in cluster.silos:
            for key in range(5):
                assert await silo.get_grain(Version2, f"k{key}").added() == "the new method"


class Here1(Grain, Version1, name="here", placement="prefer_local"):
    async def answer(self) -> int:
        return 1


class Here2(Grain, Version2, name="here", placement="prefer_local"):
    async def answer(self) -> int:
        return 2

    async def added(self) -> str:
        return "the new method"


@pytest.mark.parametrize("asker", [0, 1])
async def test_every_placement_keeps_to_the_version(asker: int) -> None:
    """VER-01: also a placement that prefers the caller's silo, for calls from a silo of either version."""
    async with TestCluster([Here1], silos=1) as cluster:
        await cluster.add_silo(grains=[Here2])
        silo: Silo = cluster.silos[asker]
        for key in range(10):
            assert await silo.get_grain(Version2, f"k{key}").added() == "the new method"
            assert await silo.get_grain(Version1, f"k{key}").answer() == 2


async def test_a_cordoned_silo_takes_grains_of_a_version_that_only_it_has() -> None:
    """VER-01: a cordon keeps new grains away, unless no other silo serves the caller."""
    async with mixed() as cluster:
        second = await cluster.add_silo(grains=[Cart2])
        address = SiloAddress("127.0.0.1", int(second.gateway.rpartition(":")[2]), second.address.generation)
        cordon = msgspec.msgpack.encode(Act(Action.CORDON, reason="a test"))
        acted = msgspec.msgpack.decode(await cluster.client.ask(address, ACT, cordon), type=Acted)
        assert acted.outcome is Outcome.DONE
        assert await cluster.get_grain(Version2, "ann").added() == "the new method"
        assert cluster.where(cluster.get_grain(Version2, "ann")) is second


async def test_rules_change_at_run_time() -> None:
    """VER-04: for one interface and by default; they count from the next placement on, and a reset restores them."""
    strict, latest = VersionRules(Compatibility.STRICT), VersionRules(selection=Selection.LATEST)
    minimum = VersionRules(selection=Selection.MINIMUM)
    async with mixed(selection="minimum") as cluster:
        await cluster.add_silo(grains=[Cart2])
        admin = cluster.client.management
        assert await keys_of(cluster, Version1, range(10)) == {1: 10}
        assert (await admin.set_version_rules("", latest, reason="a test")).count == 2
        assert await keys_of(cluster, Version1, range(10)) == {1: 10}, "existing activations stay"
        assert await keys_of(cluster, Version1, range(10, 20)) == {2: 10}
        assert (await admin.set_version_rules("cart_api", minimum, reason="a test")).complete
        assert await keys_of(cluster, Version1, range(20, 30)) == {1: 10}, "the rules of the interface come first"
        assert (await admin.set_version_rules(Version2, strict, reason="a test")).complete
        assert await keys_of(cluster, Version1, range(30)) == {1: 30}, "version 2 serves version 1 no longer"
        assert (await admin.set_version_rules("cart_api", None, reason="a test")).complete
        assert await keys_of(cluster, Version1, range(30, 40)) == {2: 10}, "the default counts again"
        assert (await admin.set_version_rules("", None, reason="a test")).complete
        assert await keys_of(cluster, Version1, range(40, 50)) == {1: 10}, "as it was configured"
        unknown = await admin.set_version_rules("carts_api", strict, reason="a test")
        assert not unknown.complete
        assert "no active silo has a version of 'carts_api'" in next(iter(unknown.outcomes.values())).text


async def test_rules_of_one_interface_are_configured() -> None:
    """VER-04: the table `versions` has rules of single interfaces, and a wrong one is refused by its name."""
    rules = {"selection": "latest", "interfaces": {"cart_api": {"selection": "minimum"}}}
    async with TestCluster([Cart1], silos=1, versions=rules) as cluster:
        await cluster.add_silo(grains=[Cart2])
        assert await keys_of(cluster, Version1, range(10)) == {1: 10}
    for wrong in (
        {"compatibility": "backwards"},
        {"interfaces": {"cart_api": {"selections": "all"}}},
        {"select": "all"},
    ):
        with pytest.raises(ConfigurationError, match="versions"):
            async with TestCluster([Cart1], silos=1, versions=wrong):
                raise AssertionError("it started")


class Twin(GrainInterface, name="cart", version=3):
    async def answer(self) -> int: ...


def test_names_that_a_request_cannot_tell_apart_are_refused() -> None:
    """VER-01: an interface with the name of its grain type and another version is refused at the start."""

    class Cart(Grain, Twin, name="cart", version=1):
        async def answer(self) -> int:
            return 1

    with pytest.raises(ConfigurationError, match=r"cannot tell 'cart' .* from 'cart'"):
        Silo([Cart]).definition(data="/tmp").versions()


class Full1(Grain, Version1, name="full_cart", placement="least_loaded"):
    async def answer(self) -> int:
        return 1


class Full2(Grain, Version2, name="full_cart", placement="least_loaded"):
    async def answer(self) -> int:
        return 2

    async def added(self) -> str:
        return "the new method"


async def test_a_full_silo_is_no_unknown_version() -> None:
    """VER-01: the placement finds no silo, because all are full; the only one that serves the caller does."""
    async with TestCluster([Full1], silos=1) as cluster:
        first = cluster.silos[0]
        assert await cluster.get_grain(Version1, "ann").answer() == 1
        second = await cluster.add_silo(grains=[Full2])
        loads = first.directory.loads
        loads.merge([LoadRow(silo.address, 1_000_000, 2.0, 1) for silo in (first, second)])
        assert await cluster.get_grain(Version2, "ann").added() == "the new method"
