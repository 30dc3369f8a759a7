"""Identity: a reference is only a name, and each name has one activation (ACT)."""

from __future__ import annotations

from typing import Generic, TypeVar
from uuid import UUID, uuid4

import pytest

from grange import ConfigurationError, Grain, GrainInterface, NoSuchGrain, SiloUnavailable
from grange.testing.cluster import TestCluster


class Label(Grain):
    def __init__(self) -> None:
        self.label = self.key

    async def get(self) -> str:
        return self.label

    async def set(self, label: str) -> None:
        self.label = label

    async def me(self) -> Label:
        return self.reference

    async def activation(self) -> str:
        return self.activation_id


class Number(Grain[int]):
    async def get(self) -> int:
        return self.key


class Ident(Grain[UUID]):
    def __init__(self) -> None:
        self.text = ""

    async def get(self) -> UUID:
        return self.key

    async def put(self, text: str) -> str:
        before, self.text = self.text, text
        return before


class Compound(Grain[tuple[str, int]]):
    async def get(self) -> tuple[str, int]:
        return self.key

    async def activation(self) -> str:
        return self.activation_id


async def test_keys_are_independent() -> None:
    """ACT-01: a label set through one key leaves another key's label alone."""
    async with TestCluster([Label]) as cluster:
        await cluster.get_grain(Label, "1").set("changed")
        assert await cluster.get_grain(Label, "2").get() == "2"


async def test_two_references_share_one_activation() -> None:
    """ACT-02: a second reference of the same identity reads what was written through the first."""
    async with TestCluster([Label]) as cluster:
        await cluster.get_grain(Label, "a").set("written")
        assert await cluster.get_grain(Label, "a").get() == "written"
        assert cluster.count(Label) == 1


@pytest.mark.parametrize("key", [0, 2**31 - 1, -(2**63), -1, 2**64 - 1])
async def test_integer_extremes_round_trip(key: int) -> None:
    """ACT-04: integer keys keep their value through reference, call and grain."""
    async with TestCluster([Number]) as cluster:
        reference = cluster.get_grain(Number, key)
        assert reference.key == key
        assert await reference.get() == key


async def test_uuid_keys_do_not_share_state() -> None:
    """ACT-04: UUID keys agree everywhere, and two of them are two grains."""
    one, other = uuid4(), uuid4()
    async with TestCluster([Ident]) as cluster:
        assert await cluster.get_grain(Ident, one).get() == one
        await cluster.get_grain(Ident, one).put("x")
        assert await cluster.get_grain(Ident, other).put("y") == ""


async def test_every_part_of_a_compound_key_counts() -> None:
    """ACT-05: keys that differ in any part are different grains."""
    async with TestCluster([Compound]) as cluster:
        grains = [cluster.get_grain(Compound, key) for key in [("a", 1), ("a", 2), ("b", 1)]]
        assert [await grain.get() for grain in grains] == [("a", 1), ("a", 2), ("b", 1)]
        assert len({await grain.activation() for grain in grains}) == 3
        assert len(set(grains)) == 3


async def test_awkward_string_keys() -> None:
    """ACT-07: 300 backslashes are a valid key. The echoed reference equals ours. Reading the key makes no call."""
    key = "\\" * 300
    async with TestCluster([Label]) as cluster:
        reference = cluster.get_grain(Label, key)
        assert reference.key == key
        assert cluster.count() == 0
        assert await reference.me() == reference
        assert await reference.get() == key


async def test_a_reference_activates_nothing() -> None:
    """ACT-08: no activation until the first call, one after it."""
    async with TestCluster([Label]) as cluster:
        reference = cluster.get_grain(Label, "x")
        assert cluster.count(Label) == 0
        await reference.get()
        assert cluster.count(Label) == 1


class Greeter(GrainInterface):
    async def greet(self) -> str: ...


class English(Grain, Greeter):
    async def greet(self) -> str:
        return "hello"


class Enquirer(Grain, Greeter):
    async def greet(self) -> str:
        return "well?"


class French(Grain, Greeter, default=True):
    async def greet(self) -> str:
        return "bonjour"


async def test_an_interface_of_several_grains_must_be_resolved() -> None:
    """ACT-09: without a default the choice is ambiguous. A full name or a unique prefix selects; others are refused."""
    async with TestCluster([English, Enquirer]) as cluster:
        with pytest.raises(ConfigurationError, match="implemented by english, enquirer"):
            cluster.get_grain(Greeter, "a")
        assert await cluster.get_grain(Greeter, "a", implementation="english").greet() == "hello"
        assert await cluster.get_grain(Greeter, "a", implementation="enq").greet() == "well?"
        for wrong in ("en", "german"):
            with pytest.raises(ConfigurationError, match=wrong):
                cluster.get_grain(Greeter, "a", implementation=wrong)


async def test_a_marked_default_implements_the_interface() -> None:
    """ACT-09: with a marked default the default is used."""
    async with TestCluster([English, French]) as cluster:
        assert await cluster.get_grain(Greeter, "a").greet() == "bonjour"


async def test_an_interface_without_implementation_fails_at_once() -> None:
    """ACT-10: no time-out at the first call, but an error that no class implements the interface."""
    async with TestCluster([Label]) as cluster:
        with pytest.raises(NoSuchGrain, match="no implementation of the interface 'greeter'"):
            cluster.get_grain(Greeter, "a")
        with pytest.raises(NoSuchGrain, match="english"):
            await cluster.get_grain(English, "a").greet()


T = TypeVar("T")


class Box(Grain, Generic[T]):
    """A generic grain. Each closed class derived from it is a grain type of its own."""

    def __init__(self) -> None:
        self.content: T | None = None

    async def swap(self, content: T) -> T | None:
        before, self.content = self.content, content
        return before


class IntBox(Box[int]):
    pass


class TextBox(Box[str]):
    pass


async def test_closed_classes_of_a_generic_grain_are_independent() -> None:
    """ACT-11: the same key with other type arguments is another activation, with its own state."""
    async with TestCluster([IntBox, TextBox]) as cluster:
        assert await cluster.get_grain(IntBox, "a").swap(1) is None
        assert await cluster.get_grain(TextBox, "a").swap("one") is None
        assert await cluster.get_grain(IntBox, "a").swap(2) == 1
        assert await cluster.get_grain(TextBox, "a").swap("two") == "one"
        with pytest.raises(ConfigurationError, match="derive a class"):
            cluster.get_grain(Box[int], "a")


class Writer(GrainInterface):
    async def write(self, value: int) -> None: ...


class Reader(GrainInterface):
    async def read(self) -> int: ...


class Register(Grain, Writer, Reader):
    def __init__(self) -> None:
        self.value = 0

    async def write(self, value: int) -> None:
        self.value = value

    async def read(self) -> int:
        return self.value


async def test_interfaces_of_one_grain_share_its_activation() -> None:
    """ACT-12: a value written through one interface is read through the other."""
    async with TestCluster([Register]) as cluster:
        await cluster.get_grain(Writer, "r").write(1234)
        assert await cluster.get_grain(Reader, "r").read() == 1234
        assert cluster.get_grain(Reader, "r") == cluster.get_grain(Writer, "r")
        assert cluster.count(Register) == 1


async def test_a_cluster_without_silos_refuses_calls_as_not_executed() -> None:
    """The call does not hang: without a silo it ends as certainly not executed."""
    async with TestCluster([Label], silos=1) as cluster:
        reference = cluster.get_grain(Label, "a")
        await cluster.kill(cluster.silos[0])
        with pytest.raises(SiloUnavailable, match="not executed"):
            await reference.get()
