"""Hooks that could never work, names of Grain that are taken, and constructors that no silo could call."""

from __future__ import annotations

import abc
import dataclasses
import functools
from typing import Any, Protocol

import msgspec
import pytest

from grange import ConfigurationError, Grain, GrainInterface
from grange.grains.facets import check_buildable, constructor_parameters


def define(name: str, member: object, bases: tuple[type, ...] = (Grain,)) -> type:
    return type("Cart", bases, {name: member})


def plain(self: Any, *arguments: Any) -> None: ...


async def nothing(self: Any) -> None: ...


async def one(self: Any, reason: str) -> None: ...


async def optional(self: Any, reason: str = "", more: int = 0) -> None: ...


async def anything(self: Any, *arguments: Any) -> None: ...


async def keyword(self: Any, *, reason: str) -> None: ...


async def two(self: Any, reason: str, more: int) -> None: ...


async def generator(self: Any) -> Any:
    yield 1


@pytest.mark.parametrize(
    ("name", "hook", "says"),
    [
        ("on_activate", plain, r"is a hook that the runtime awaits; write async def on_activate\(self\)"),
        ("on_activate", one, r"is called as async def on_activate\(self\): missing a required argument: 'reason'"),
        ("on_activate", generator, "is a hook that the runtime awaits"),
        ("on_activate", None, "is a hook that the runtime awaits"),
        ("on_activate", staticmethod(nothing), "is a hook that the runtime awaits"),
        ("on_activate", classmethod(nothing), "is a hook that the runtime awaits"),
        ("on_activate", property(nothing), "is a hook that the runtime awaits"),
        ("on_activate", functools.partialmethod(one, "x"), "is a hook that the runtime awaits"),
        ("on_deactivate", plain, r"is a hook that the runtime awaits; write async def on_deactivate\(self, reason\)"),
        ("on_deactivate", nothing, r"is called as async def on_deactivate\(self, reason\): too many positional"),
        ("on_deactivate", keyword, r"is called as async def on_deactivate\(self, reason\)"),
        ("on_deactivate", two, r"is called as async def on_deactivate\(self, reason\): missing .*'more'"),
        ("on_reminder", nothing, r"is called as async def on_reminder\(self, tick\)"),
        ("on_call", plain, "is a hook that the runtime awaits"),
    ],
)
def test_a_hook_that_could_not_work_stops_the_definition(name: str, hook: object, says: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"Cart\.{name} {says}"):
        define(name, hook)


@pytest.mark.parametrize("name", ["on_activate", "on_deactivate", "on_reminder"])
def test_hooks_may_take_more_than_they_need(name: str) -> None:
    for hook in (optional, anything):
        define(name, hook)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("on_activated", "on_activate"), ("on_active", "on_activate"), ("on_activation", "on_activate"),
        ("onActivate", "on_activate"), ("on_acitvate", "on_activate"), ("on_deactivated", "on_deactivate"),
        ("on_deactivation", "on_deactivate"), ("on_deactive", "on_deactivate"), ("onDeactivate", "on_deactivate"),
        ("OnActivateAsync", "on_activate"), ("on_deactivate_async", "on_deactivate"),
        ("on_dehydrate", "dehydrate"), ("OnRehydrate", "rehydrate"),
    ],
)  # fmt: skip
def test_a_name_that_is_almost_a_hook_is_refused(name: str, meant: str) -> None:
    """LIF-29: async or not, of the class or of a mixin."""
    for member in (plain, nothing):
        with pytest.raises(ConfigurationError, match=rf"{name} is almost the hook {meant}, and would never run"):
            define(name, member)
    with pytest.raises(ConfigurationError, match=rf"Mixin\.{name} is almost the hook"):
        define("x", 1, (type("Mixin", (), {name: nothing}), Grain))


@pytest.mark.parametrize("name", ["activate", "deactivate", "on_activity", "on_order", "one", "on_date"])
def test_other_names_are_free(name: str) -> None:
    """LIF-29: also those that callers call."""

    async def method(self: Any) -> None: ...

    define(name, method)


def test_a_hook_of_a_mixin_behind_grain_would_not_run() -> None:
    mixin = type("Traced", (), {"on_activate": nothing})
    with pytest.raises(
        ConfigurationError,
        match=r"Traced\.on_activate would never run, .* list Traced first: class Cart\(Traced, \.\.\.\)",
    ):
        define("x", 1, (Grain, mixin))
    define("x", 1, (mixin, Grain))
    with pytest.raises(ConfigurationError, match=r"Traced\.on_activate is a hook that the runtime awaits"):
        define("x", 1, (type("Traced", (), {"on_activate": plain}), Grain))


def test_an_interface_has_no_hooks() -> None:
    for bases in ((GrainInterface,), (type("Cart", (), {"on_activate": nothing}), GrainInterface)):
        with pytest.raises(ConfigurationError, match=r"Cart\.on_activate: an interface has no hooks; move it"):
            define("on_activate", nothing, bases)


@pytest.mark.parametrize("name", ["key", "id", "start_timer", "_context", "_grange"])
def test_names_of_grain_are_taken_by_fields_and_mixins_too(name: str) -> None:
    """A field of this name would fail each activation; a member would break the verbs of Grain."""
    says = f"grain class Cart: {name} is a name of Grain; choose another"
    with pytest.raises(ConfigurationError, match=says):
        type("Cart", (Grain,), {"__annotations__": {name: int}})
    for bases in ((type("Mixin", (), {name: 1}), Grain), (Grain, type("Mixin", (), {name: 1}))):
        with pytest.raises(ConfigurationError, match=rf"{says} \(in its base Mixin\)"):
            define("x", 1, bases)


def test_a_constructor_is_not_async() -> None:
    for init in (nothing, generator):
        with pytest.raises(ConfigurationError, match=r"Cart\.__init__ must be a plain def; await in on_activate"):
            define("__init__", init)


# --- classes that cannot be built ----------------------------------------------------------------------------------


class Half(Grain, abc.ABC):
    @abc.abstractmethod
    async def missing(self) -> None: ...


class HalfWithoutABC(Grain):
    @abc.abstractmethod
    async def missing(self) -> None: ...


class Whole(HalfWithoutABC):
    async def missing(self) -> None: ...


@pytest.mark.parametrize("cls", [Half, HalfWithoutABC])
def test_an_abstract_class_is_not_hosted(cls: type) -> None:
    with pytest.raises(ConfigurationError, match=f"grain class {cls.__name__} is abstract: .* missing; give the silo"):
        check_buildable(cls)
    check_buildable(Whole)


def test_new_needs_no_arguments() -> None:
    class Needy(Grain):
        def __new__(cls, name: str) -> Any: ...

    class Fine(Grain):
        def __new__(cls, *arguments: Any, **named: Any) -> Any: ...

    with pytest.raises(ConfigurationError, match=r"Needy\.__new__ must be callable without arguments"):
        check_buildable(Needy)
    check_buildable(Fine)
    check_buildable(dataclasses.dataclass(slots=True)(Whole))


def test_a_struct_is_no_grain() -> None:
    """Its fields are set by `__new__`, before the runtime could inject them."""

    class Both(Grain, msgspec.Struct): ...

    with pytest.raises(ConfigurationError, match="Both must not be a msgspec Struct; use a dataclass"):
        check_buildable(Both)


def test_a_protocol_needs_no_constructor() -> None:
    class Named(Protocol):
        async def name(self) -> str: ...

    class Cart(Grain, Named):
        async def name(self) -> str:
            return "cart"

    assert constructor_parameters(Cart) == ()
