"""Generic grain classes: a type variable arrives as the type that a derived class binds, or is refused."""

# This file has no `from __future__ import annotations`: some annotations are values and some are text.

import dataclasses
from typing import Annotated, Any, Callable, Generic, Literal, NewType, ParamSpec, Union  # noqa: UP035
from uuid import UUID

import attrs
import pytest
from typing_extensions import TypeVar, TypeVarTuple

from grange import ConfigurationError, Grain, GrainInterface, PersistentState
from grange.grains.definition import spec_of
from grange.grains.facets import constructor_parameters

T = TypeVar("T")
U = TypeVar("U")
D = TypeVar("D", default=int)
K = TypeVar("K", bound="str | int | UUID | tuple[str | int | UUID, ...]")
P = ParamSpec("P")
Ts = TypeVarTuple("Ts")


@dataclasses.dataclass
class User:
    name: str = ""


@dataclasses.dataclass
class Page(Generic[T]):
    items: list[T]


class Repo(Grain, Generic[T]):
    def __init__(self, state: PersistentState[T]) -> None: ...

    async def one(self, value: T) -> T: ...
    async def many(self, values: dict[str, list[T]], more: "T | None" = None) -> tuple[T, ...]: ...
    async def page(self, page: Page[T], marked: Annotated[T, "mark"]) -> Union[T, int]: ...  # noqa: UP007


class Users(Repo[User]): ...


class ByText(Repo["User"]): ...


class Listed(Repo[list[U]], Generic[U]):
    async def flat(self, value: U) -> None: ...


class Deep(Listed[User]): ...


def types(cls: Any, method: str) -> tuple[Any, ...]:
    spec = spec_of(cls).methods[method]
    return (*spec.types, spec.result)


@pytest.mark.parametrize(("cls", "bound"), [(Users, User), (ByText, User), (Deep, list[User])])
def test_type_variables_are_bound(cls: Any, bound: Any) -> None:
    """In arguments, results and states, also inside other types and through several bases."""
    assert types(cls, "one") == (bound, bound)
    assert types(cls, "many") == (dict[str, list[bound]], bound | None, tuple[bound, ...])
    assert types(cls, "page") == (Page[bound], Annotated[bound, "mark"], bound | int)
    (state,) = constructor_parameters(cls)
    assert state.kind == PersistentState[bound]
    if cls is Deep:
        assert types(cls, "flat") == (User, type(None))


class Mixin(Generic[T]):
    """Not a grain class; another class uses the same variable."""

    async def mixed(self, value: T) -> None: ...


def test_each_class_has_its_own_binding_of_a_variable() -> None:
    class Both(Mixin[int], Repo[User]): ...

    assert types(Both, "mixed") == (int, type(None))
    assert types(Both, "one") == (User, User)

    class Half(Mixin[int], Repo): ...  # type: ignore[type-arg]

    with pytest.raises(ConfigurationError, match=r"Half\.\w+, argument '\w+': nothing binds the type variable ~T"):
        spec_of(Half)


@pytest.mark.parametrize("decorate", [dataclasses.dataclass, dataclasses.dataclass(slots=True), attrs.define])
def test_fields_of_a_generic_base_are_bound(decorate: Any) -> None:
    """The generated `__init__` belongs to the derived class, and its type variable to the base."""

    @decorate
    class Stored(Grain, Generic[T]):
        state: PersistentState[T]

    @decorate
    class Derived(Stored[User]):
        other: PersistentState[int]

    kinds = {each.name: each.kind for each in constructor_parameters(Derived)}
    assert kinds == {"state": PersistentState[User], "other": PersistentState[int]}


def test_a_variable_that_nothing_binds_is_refused_with_the_remedy() -> None:
    class Bare(Repo): ...  # type: ignore[type-arg]

    class Open(Repo[U], Generic[U]): ...

    class Method(Grain):
        async def f(self, value: list[U]) -> U: ...

    for cls, variable in ((Repo, "~T"), (Bare, "~T"), (Open, "~U"), (Method, "~U")):
        with pytest.raises(
            ConfigurationError,
            match=rf"{cls.__name__}\.\w+, argument '\w+': nothing binds .* {variable}, .* such as class Users",
        ):
            spec_of(cls)
    for cls in (Repo, Bare, Open):
        with pytest.raises(ConfigurationError, match=rf"{cls.__name__}\.__init__, 'state': nothing binds"):
            constructor_parameters(cls)


def test_a_variable_with_a_default_is_bound() -> None:
    class Defaulted(Grain, Generic[D]):
        async def f(self, value: D) -> list[D]: ...

    class Texts(Defaulted[str]): ...

    assert types(Defaulted, "f") == (int, list[int])
    assert types(Texts, "f") == (str, list[str])


def test_two_bindings_of_one_variable_are_refused() -> None:
    class Orders(Repo[int]): ...

    with pytest.raises(ConfigurationError, match=r"~T of Repo is bound to .*User and to int by the bases of Both"):

        class Both(Users, Orders): ...


def test_variables_of_many_types_are_refused() -> None:
    class Many(Grain, Generic[*Ts]):
        async def f(self, values: tuple[*Ts]) -> None: ...

    class Calls(Grain, Generic[P]):
        async def f(self, value: Callable[P, int]) -> None: ...

    class Bound(Many[int, str]): ...

    for cls in (Many, Bound, Calls):
        with pytest.raises(ConfigurationError, match="has a ParamSpec or a TypeVarTuple, which cannot be bound"):
            spec_of(cls)


def test_a_generic_class_needs_its_types() -> None:
    class Pages(Grain):
        async def f(self, page: list[Page]) -> None: ...  # type: ignore[type-arg]

    with pytest.raises(ConfigurationError, match=r"Pages\.f, argument 'page': Page is generic .* write Page\[\.\.\.\]"):
        spec_of(Pages)


def test_other_annotations_stay() -> None:
    Name = NewType("Name", str)

    class Plain(Grain):
        async def f(self, a: Literal["T"], b: Any, c: Name, d: list[Any]) -> None: ...

    assert types(Plain, "f") == (Literal["T"], Any, Name, list[Any], type(None))


# --- keys ----------------------------------------------------------------------------------------------------------


class Keyed(Grain[K]):
    async def get(self) -> K: ...


class KeyedRepo(Grain[K], Generic[K, T]):
    async def one(self, value: T) -> K: ...


def test_a_bound_variable_is_the_kind_of_key() -> None:
    class Numbered(Keyed[int]): ...

    class Compound(KeyedRepo[tuple[str, int], User]): ...

    class Below(Numbered): ...

    assert spec_of(Numbered).options.key is int
    assert spec_of(Below).options.key is int
    assert spec_of(Compound).options.key == (str, int)
    assert types(Compound, "one") == (User, tuple[str, int])


def test_a_key_that_nothing_binds_is_refused() -> None:
    class Bare(Keyed): ...  # type: ignore[type-arg]

    for cls in (Keyed, Bare):
        with pytest.raises(ConfigurationError, match=rf"{cls.__name__}: nothing binds ~K, the kind of its key"):
            spec_of(cls)
    with pytest.raises(ConfigurationError, match=r"grain class Wrong: .*name different keys: int, str"):

        class Wrong(Keyed[int], key=str): ...


# --- interfaces ----------------------------------------------------------------------------------------------------


class RepoApi(GrainInterface, Generic[T]):
    async def one(self, value: T) -> T: ...


class UsersApi(RepoApi[User]): ...


async def one(self: Any, value: User) -> User: ...  # type: ignore[empty-body]


def test_a_generic_interface_is_bound_by_its_grain() -> None:
    for base in (RepoApi[User], UsersApi):

        class Cart(Grain, base):  # type: ignore[misc,valid-type]
            one = one

        assert types(Cart, "one") == (User, User)
    assert types(UsersApi, "one") == (User, User)
    with pytest.raises(
        ConfigurationError, match=r"Cart\.one: the argument 'value' is .*User, and int in the interface"
    ):

        class Cart(Grain, RepoApi[int]):  # type: ignore[no-redef]
            one = one

    with pytest.raises(ConfigurationError, match=r"RepoApi\.one, the argument 'value': nothing binds"):

        class Open(Grain, RepoApi):  # type: ignore[type-arg]
            one = one
