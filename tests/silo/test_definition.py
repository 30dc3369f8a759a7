"""The definition of a silo is checked before anything starts."""

from __future__ import annotations

import abc
from typing import Any, Generic, TypeVar

import pytest
import svcs

from grange import ConfigurationError, Grain, GrainInterface
from grange.grains.definition import spec_of
from grange.membership.model.member import Implementations
from grange.placement import RandomChoice, builtin_strategies
from grange.silo.definition import SiloDefinition, as_classes
from grange.silo.silo import Silo
from grange.testing import TestContext
from grange.testing.cluster import KeywordConfig

T = TypeVar("T")


class Api(GrainInterface, name="api"):
    async def get(self) -> int: ...


class One(Grain, Api, name="one"):
    async def get(self) -> int:
        return 1


class Two(Grain, Api, name="two", placement="random"):
    async def get(self) -> int:
        return 2


class Preferred(Grain, Api, name="preferred", default=True):
    async def get(self) -> int:
        return 3


class AlsoPreferred(Grain, Api, name="also_preferred", default=True):
    async def get(self) -> int:
        return 4


class Worker(Grain, name="worker", stateless_workers=2):
    async def get(self) -> int:
        return 5


class Impostor(Grain, name="one"):
    async def get(self) -> int:
        return -1


class Elsewhere(Grain, placement="on_the_moon"):
    pass


class Unfinished(Grain):
    @abc.abstractmethod
    async def get(self) -> int: ...


class Generic_(Grain, Generic[T]):
    async def get(self, value: T) -> None: ...


def definition(*grains: type[Grain[Any]]) -> SiloDefinition:
    return SiloDefinition(grains, KeywordConfig(), svcs.Registry(), (), builtin_strategies())


def test_a_class_that_is_given_twice_counts_once() -> None:
    """Otherwise it would be two implementations of its interface, and a call by the interface ambiguous."""
    assert as_classes([One, Two, One]) == (One, Two)


def test_classes_that_no_silo_can_host_stop_the_start() -> None:
    for cls, says in {
        Api: "Api is an interface; give the silo a grain class that implements it",
        Unfinished: "grain class Unfinished is abstract: it does not implement get",
        Generic_: r"Generic_\.get, argument 'value': nothing binds the type variable ~T",
    }.items():
        with pytest.raises(ConfigurationError, match=says):
            definition(One, cls).check()  # type: ignore[arg-type]


def test_two_interfaces_of_one_name_stop_the_start() -> None:
    """A call by the one would reach a grain that implements the other."""
    twin: Any = type("Api", (GrainInterface,), {}, name="api")
    other: Any = type("Other", (Grain, twin), {})
    with pytest.raises(ConfigurationError, match=r"Api and .*Api are both named 'api'; .* callers find its grains"):
        definition(One, other).check()


def test_one_class_in_place_of_a_list_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"list of classes, not one class: grains=\[One\]"):
        as_classes(One)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_an_object_in_place_of_its_class_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"One\(\) is an object; give the class itself: One"):
        definition(One()).check()  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("given", ["One", 1, None])
def test_what_is_no_class_at_all_is_named(given: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"is not a class; give the grain class or interface itself"):
        spec_of(given)
    with pytest.raises(ConfigurationError, match=f"{given!r} is not a class"):
        TestContext(given, 1)


def test_two_classes_of_one_name_are_both_named() -> None:
    with pytest.raises(ConfigurationError, match=r"test_definition\.One and .*test_definition\.Impostor .*named 'one'"):
        definition(One, Impostor).check()
    definition(One, One).check()


def test_an_unknown_placement_is_named_with_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match=r"Elsewhere: there is no placement 'on_the_moon'; known are .*ring"):
        definition(Elsewhere).check()


def test_a_silo_needs_a_grain_class() -> None:
    with pytest.raises(ConfigurationError, match="at least one grain class"):
        definition().check()


def test_the_placements_for_the_membership_table() -> None:
    assert definition(One, Two, Worker).placements() == {"one": "ring", "two": "random", "worker": "stateless_worker"}


def test_the_interfaces_for_the_membership_table() -> None:
    assert definition(One, Two).interfaces() == {"api": Implementations(("one", "two"), None)}
    for grains in ((One, Preferred), (Preferred, One)):
        names = tuple(cls.__name__.lower() for cls in grains)
        assert definition(*grains).interfaces() == {"api": Implementations(names, "preferred")}
    assert definition(Worker).interfaces() == {}


def test_an_interface_has_one_default() -> None:
    with pytest.raises(ConfigurationError, match=r"'preferred' and 'also_preferred' are both default=True .* 'api'"):
        definition(Preferred, AlsoPreferred).interfaces()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"grains": 5}, "grains= is a list of classes, not 5"),
        ({"grains": None}, "grains= is a list of classes, not None"),
        ({"grains": "shop.Cart"}, "grains= is a list of classes, not 'shop.Cart'"),
        ({"grains": ["Cart"]}, "grains= is a list of classes; 'Cart' is none"),
        ({"grains": [], "errors": 5}, "errors= is a list of exception classes, not 5"),
        ({"grains": [], "errors": [5]}, "errors= is a list of exception classes; 5 is none"),
        ({"grains": [], "errors": [int]}, "errors= is a list of exception classes; int is none"),
        ({"grains": [], "placement": [5]}, "5 is none"),
        ({"grains": [], "placement": [RandomChoice]}, "takes an object, not the class RandomChoice"),
        (
            {"grains": [], "config": {"port": 0}},
            "config= is a SiloConfig, not {'port': 0}; give options by their names",
        ),
    ],
)
def test_an_argument_of_the_wrong_kind_is_named(arguments: dict[str, Any], says: str) -> None:
    """It must not end as an unexpected error of the process, which would be a defect of grange."""
    with pytest.raises(ConfigurationError) as caught:
        Silo(**arguments)
    assert says in str(caught.value)
