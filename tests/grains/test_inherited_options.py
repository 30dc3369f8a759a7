"""Options of derived classes, of interfaces and of classes that a decorator makes anew: none is lost in silence."""

from __future__ import annotations

import dataclasses
from typing import Any
from uuid import UUID

import attrs
import pytest

from grange import (
    ConfigurationError,
    Grain,
    GrainInterface,
    PersistentState,
    always_interleave,
    one_way,
    read_only,
    response_timeout,
)
from grange.grains.definition import is_interface, spec_of
from grange.grains.ref import reference_class


class OutOfStock(Exception): ...


class Closed(Exception): ...


def options(cls: Any) -> Any:
    return spec_of(cls).options


# --- derived classes -----------------------------------------------------------------------------------------------


class Get(GrainInterface, key=int):
    async def get(self) -> int: ...  # type: ignore[empty-body]


class Base(
    Grain[int],
    Get,
    name="base",
    idle_timeout=5,
    placement="random",
    mailbox_limit=7,
    errors=[OutOfStock],
    default=True,
    version=3,
):
    async def get(self) -> int:
        return 1


class Other(Grain[int], name="other", reentrant=True, mailbox_limit=8, errors=Closed): ...


def test_options_are_inherited_but_those_of_one_class() -> None:
    class Derived(Base): ...

    inherited = options(Derived)
    assert (inherited.idle_timeout, inherited.placement, inherited.mailbox_limit) == (5, "random", 7)
    assert (inherited.key, inherited.errors) == (int, (OutOfStock,))
    assert (inherited.name, inherited.default, inherited.version) == ("derived", False, 0)


def test_the_nearest_class_counts_and_errors_add_up() -> None:
    class Both(Other, Base, idle_timeout=9, errors=[LookupError]): ...

    class Below(Both, mailbox_limit=None): ...

    assert (options(Both).mailbox_limit, options(Both).idle_timeout, options(Both).reentrant) == (8, 9, True)
    assert options(Both).errors == (LookupError, Closed, OutOfStock)
    assert (options(Below).mailbox_limit, options(Below).idle_timeout) == (None, 9)


def test_a_contradiction_with_an_inherited_option_names_the_base() -> None:
    with pytest.raises(
        ConfigurationError, match=r"Kept: keep_alive=True contradicts idle_timeout=.*inherited from Base"
    ):

        class Kept(Base, keep_alive=True): ...

    class Fine(Base, keep_alive=True, idle_timeout=None): ...

    assert options(Fine).keep_alive


def test_a_class_named_as_its_base_does_not_take_its_place() -> None:
    def derive(base: Any, **keywords: Any) -> Any:
        return type("Base", (base,), {}, **keywords)

    with pytest.raises(ConfigurationError, match="would not inherit its name='base'; give it a name= of its own"):
        derive(Base)
    assert options(derive(Base, name="base_2")).name == "base_2"


# --- interfaces ----------------------------------------------------------------------------------------------------


class Api(GrainInterface, name="api", errors=[OutOfStock]):
    @read_only
    @response_timeout(5)
    async def look(self) -> None: ...

    @one_way
    async def note(self, text: str) -> None: ...

    async def add(self, sku: str) -> int: ...  # type: ignore[empty-body]


async def look(self: Any) -> None: ...


async def note(self: Any, text: str) -> None: ...


async def add(self: Any, sku: str) -> int:
    return 1


def implement(interface: Any = Api, **members: Any) -> Any:
    return type("Cart", (Grain, interface), {"look": look, "note": note, "add": add, **members})


def test_method_options_of_an_interface_count_for_the_grain() -> None:
    methods = spec_of(implement()).methods
    assert methods["look"].options == spec_of(Api).methods["look"].options
    assert (methods["look"].options.read_only, methods["look"].options.timeout) == (True, 5.0)
    assert methods["note"].options.one_way
    assert not methods["add"].options.one_way


def test_a_grain_adds_the_options_that_only_the_silo_reads() -> None:
    async def add(self: Any, sku: str) -> int:
        return 1

    async def look(self: Any) -> None: ...

    methods = spec_of(implement(add=always_interleave(add), look=response_timeout(5)(look))).methods
    assert methods["add"].options.always_interleave
    assert methods["look"].options.read_only


@pytest.mark.parametrize("name", ["look", "add"])
def test_a_grain_cannot_change_the_options_that_callers_read(name: str) -> None:
    async def look(self: Any) -> None: ...

    async def add(self: Any, sku: str) -> int:
        return 1

    changed = response_timeout(9)({"look": look, "add": add}[name])
    with pytest.raises(
        ConfigurationError,
        match=rf"Cart\.{name}: @response_timeout\(9\) has no effect for callers by the interface Api; .* Api\.{name}",
    ):
        implement(**{name: changed})

    async def silent(self: Any) -> None: ...

    with pytest.raises(
        ConfigurationError, match=r"Cart\.look: @one_way has no effect for callers by the interface Api"
    ):
        implement(look=one_way(silent))


def test_a_wider_interface_says_otherwise() -> None:
    class Slow(Api):
        @response_timeout(60)
        async def look(self) -> None: ...

    methods = spec_of(Slow).methods
    assert (methods["look"].options.timeout, methods["look"].options.read_only) == (60.0, True)
    assert spec_of(implement(Slow)).methods["look"].options.timeout == 60.0
    assert spec_of(Api).methods["look"].options.timeout == 5.0


def test_errors_of_an_interface_arrive_as_themselves() -> None:
    assert options(implement()).errors == (OutOfStock,)


@pytest.mark.parametrize("option", ["idle_timeout", "keep_alive", "placement", "default", "mailbox_limit"])
def test_an_interface_takes_no_option_of_a_silo(option: str) -> None:
    with pytest.raises(ConfigurationError, match=f"interface Api: {option}= has no effect on an interface; move it to"):
        type("Api", (GrainInterface,), {}, **{option: 1})


def test_an_interface_may_come_before_grain() -> None:
    class Cart(Api, Grain, idle_timeout=5):  # type: ignore[call-arg]
        async def look(self) -> None: ...
        async def note(self, text: str) -> None: ...
        async def add(self, sku: str) -> int:
            return 1

    assert not is_interface(Cart)
    assert options(Cart).idle_timeout == 5


@pytest.mark.parametrize(("base", "key"), [(Grain[int], "int"), (Grain[UUID], "UUID")])
def test_an_interface_has_the_key_of_its_grain(base: Any, key: str) -> None:
    with pytest.raises(
        ConfigurationError, match=f"Cart has keys of kind {key}, and its interface Api of kind str; write"
    ):

        class Cart(base, Api):  # type: ignore[misc]
            look, note, add = look, note, add


def test_a_grain_takes_the_key_of_its_interface() -> None:
    class Numbered(GrainInterface, key=int):
        async def get(self) -> int: ...  # type: ignore[empty-body]

    class Cart(Grain, Numbered):
        async def get(self) -> int:
            return 1

    assert options(Cart).key is int


# --- classes made anew ---------------------------------------------------------------------------------------------


def copied(cls: Any) -> Any:
    """As a decorator that makes the class anew with other attributes."""
    return type(cls)(cls.__name__, cls.__bases__, {**vars(cls), "extra": 1})


@pytest.mark.parametrize(
    "decorate",
    [
        dataclasses.dataclass(slots=True),
        dataclasses.dataclass,
        attrs.define,
        attrs.define(slots=False),
        attrs.frozen,
        copied,
    ],
)
def test_a_class_made_anew_keeps_its_options(decorate: Any) -> None:
    class Account(Grain[int], name="my_account", idle_timeout=5, errors=[OutOfStock]):
        state: PersistentState[int]

        @read_only
        async def get(self) -> int:
            return 1

    first = spec_of(Account), reference_class(spec_of(Account))
    again = decorate(Account)
    spec = spec_of(again)
    assert (spec.options.name, spec.options.idle_timeout, spec.options.errors) == ("my_account", 5, (OutOfStock,))
    assert (spec.options.key, spec.methods["get"].options.read_only, spec.cls) == (int, True, again)
    assert reference_class(spec)._grange_spec is spec
    assert (first[0] is spec) == (again is Account)


def test_a_copy_under_another_name_is_another_class() -> None:
    class Account(Grain, name="my_account", idle_timeout=5): ...

    other: Any = type("Savings", (Grain,), dict(vars(Account)))
    assert (options(other).name, options(other).idle_timeout) == ("savings", None)
