"""A grain fits its interfaces, or is refused: a call by the interface never arrives with other values."""

from __future__ import annotations

import inspect
import types
import typing
from typing import Annotated, Any, NewType

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grange import ConfigurationError, Grain, GrainInterface
from grange.grains.definition import spec_of
from grange.grains.interface import MethodSpec

UserId = NewType("UserId", int)
Positive = Annotated[int, msgspec.Meta(gt=0)]


NAMES = {
    "Annotated": Annotated, "Any": Any, "List": vars(typing)["List"],
    "Optional": typing.Optional,
    "Positive": Positive, "Union": typing.Union, "UserId": UserId, "msgspec": msgspec,
}  # fmt: skip


def method(source: str, namespace: dict[str, Any] | None = None) -> Any:
    """The async method `f` with these parameters, such as `a: int, b: str = "x") -> (int`."""
    members: dict[str, Any] = {}
    code = compile(f"async def f(self, {source}): ...", "<test>", "exec", dont_inherit=True)
    exec(code, {**NAMES, **(namespace or {})}, members)
    return members["f"]


def pair(interface: str, grain: str) -> tuple[Any, Any]:
    """An interface and a grain class that implements it, with these parameters of one method."""
    api: Any = type("Api", (GrainInterface,), {"f": method(interface)})
    return api, type("Cart", (Grain, api), {"f": method(grain)})


@pytest.mark.parametrize(
    ("interface", "grain", "says"),
    [
        ("a: str, b: str) -> (int", "b: str, a: str) -> (int", "write the same names in the same order"),
        ("a: str) -> (int", "text: str) -> (int", r"Cart\.f\(text\) does not fit the interface Api, which has f\(a\)"),
        ("a: str, b: str) -> (int", "a: str) -> (int", "write the same names"),
        ("a: str) -> (int", "a: str, b: str) -> (int", "the added 'b' needs a default"),
        ("a: str) -> (int", "b: int = 1, a: str = '') -> (int", "write the same names"),
        ("*, a: str, b: str) -> (int", "*, b: str, a: str) -> (int", "write the same names in the same order"),
        ("a: str) -> (int", "*, a: str) -> (int", "'a' must be given in the same way"),
        ("a: str) -> (int", "a: str, /) -> (int", "'a' must be given in the same way"),
        ("a: str = 'x') -> (int", "a: str) -> (int", "'a' needs a default too"),
        ("a: str = 'x') -> (int", "a: str = 'y') -> (int", "the default of 'a' must be the same"),
        ("a: int = 1) -> (int", "a: int = True) -> (int", "the default of 'a' must be the same"),
        ("a: str) -> (int", "a: int) -> (int", "the argument 'a' is int, and str in the interface Api; write the same"),
        ("a: str) -> (int", "a: Any) -> (int", "the argument 'a' is typing.Any"),
        ("a: str) -> (int", "a: str) -> (bool", "the result is bool, and int in the interface"),
        ("a: list[str]) -> (int", "a: list[int]) -> (int", "the argument 'a' is list"),
        ("a: dict[str, int]) -> (int", "a: dict[int, str]) -> (int", "the argument 'a' is dict"),
        ("a: int | None) -> (int", "a: int) -> (int", "the argument 'a' is int"),
        ("a: int) -> (int", "a: int) -> (int | None", "the result is int | None"),
        ("a: bool) -> (int", "a: int | None) -> (int", "the argument 'a' is int | None"),
        ("a: int) -> (int", "a: Positive) -> (int", "the argument 'a' is typing.Annotated"),
    ],
)
def test_a_method_that_does_not_fit_stops_the_definition(interface: str, grain: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        pair(interface, grain)


@pytest.mark.parametrize(
    ("interface", "grain"),
    [
        ("a: str) -> (int", "a: str, more: int = 1, *, flag: bool = False) -> (int"),
        ("a: str) -> (int", "a: str = 'x') -> (int"),
        ("*, a: str) -> (int", "a: str) -> (int"),
        ("a: str, /) -> (int", "a: str) -> (int"),
        ("a: float = float('nan')) -> (int", "a: float = float('nan')) -> (int"),
        ("a: Any = object()) -> (int", "a: Any = object()) -> (int"),
        ("a: Optional[int]) -> (List[int]", "a: int | None) -> (list[int]"),
        ("a: Union[int, List[str]]) -> (None", "a: list[str] | int) -> (None"),
        ("a: int) -> (int | None", "a: int | None) -> (int"),
        ("a: list[int]) -> (dict[str, int | None]", "a: list[int | str]) -> (dict[str, int]"),
        ("a: UserId) -> (int", "a: int) -> (UserId"),
        ("a: list[str]) -> (int", "a: Annotated[list[str], 'a note']) -> (int"),
        ("a: Positive) -> (int", "a: Annotated[int, msgspec.Meta(gt=0)]) -> (int"),
    ],
)
def test_a_method_may_be_wider_where_no_value_changes(interface: str, grain: str) -> None:
    api, cart = pair(interface, grain)
    assert list(spec_of(api).methods) == list(spec_of(cart).methods) == ["f"]


def test_a_result_may_be_a_reference_to_an_implementation() -> None:
    """And an argument may be one to an interface: the callers of the interface know no more than that."""

    class Person(GrainInterface):
        async def friends(self, of: Someone) -> list[Person]: ...  # type: ignore[empty-body]

    class Someone(Grain, Person):
        async def friends(self, of: Person) -> list[Someone]: ...  # type: ignore[empty-body]

    class Anyone(Someone): ...

    names = {"Person": Person, "Someone": Someone, "Anyone": Anyone}
    for source, fits in (("of: Person) -> (list[Anyone]", True), ("of: Anyone) -> (list[Person]", False)):
        api: Any = type("Api", (GrainInterface,), {"f": method("of: Someone) -> (list[Someone]", names)})
        members = {"f": method(source, names)}
        if fits:
            type("Cart", (Grain, api), members)
        else:
            with pytest.raises(ConfigurationError, match="the argument 'of' is"):
                type("Cart", (Grain, api), members)


def test_annotations_that_are_defined_later_are_checked_at_first_use() -> None:
    source = """
from __future__ import annotations
from grange import Grain, GrainInterface
class Api(GrainInterface):
    async def f(self, a: Later) -> Later: ...
class Cart(Grain, Api):
    async def f(self, a: str) -> Later: ...
class Later: ...
"""
    module = types.ModuleType("later")
    exec(source, vars(module))
    with pytest.raises(
        ConfigurationError, match=r"Cart\.f: the argument 'a' is str, and later\.Later in the interface"
    ):
        spec_of(module.Cart)


def test_an_annotation_of_an_interface_that_cannot_be_resolved_is_told_at_first_use() -> None:
    source = """
from grange import Grain, GrainInterface
class Api(GrainInterface):
    async def f(self, a: "Missing") -> int: ...
class Cart(Grain, Api):
    async def f(self, a: int) -> int: ...
"""
    module = types.ModuleType("unresolved")
    exec(compile(source, "<test>", "exec", dont_inherit=True), vars(module))
    with pytest.raises(ConfigurationError, match=r"Cart: an annotation of its base .* cannot be resolved: .*'Missing'"):
        spec_of(module.Cart)


def test_two_classes_of_one_name_are_told_apart() -> None:
    """A notebook cell that defines a class again, but not the interface that uses it."""
    first, second = (type("User", (), {"__module__": "cell"}) for _ in range(2))
    api: Any = type("Api", (GrainInterface,), {"f": method("a: User) -> (int", {"User": first})})
    with pytest.raises(ConfigurationError, match=r"is cell\.User, and cell\.User in .* define both sides again"):
        type("Cart", (Grain, api), {"f": method("a: User) -> (int", {"User": second})})


def test_a_method_of_an_interface_stays_async() -> None:
    class Api(GrainInterface):
        async def f(self) -> None: ...

    for member in (lambda self: None, property(lambda self: None), 5, None):
        with pytest.raises(
            ConfigurationError, match=r"Cart\.f must be an async def, because that of the interface Api is"
        ):
            type("Cart", (Grain, Api), {"f": member})


def test_a_grain_must_fit_each_of_two_interfaces() -> None:
    one: Any = type("One", (GrainInterface,), {"f": method("a: str) -> (int")})
    wider: Any = type("Wider", (GrainInterface,), {"f": method("a: str, b: int = 1) -> (int")})
    other: Any = type("Other", (GrainInterface,), {"f": method("b: str) -> (int")})
    type("Cart", (Grain, one, wider), {"f": method("a: str, b: int = 1) -> (int")})
    for source in ("a: str) -> (int", "b: str) -> (int"):
        with pytest.raises(ConfigurationError, match=r"does not fit the interface (One|Other)"):
            type("Cart", (Grain, one, other), {"f": method(source)})


def test_an_override_fits_its_base_class_and_interface() -> None:
    """A reference to the derived grain may be given where one to the base class is annotated."""
    base: Any = type("Base", (Grain,), {"f": method("a: str, b: str) -> (int")})
    with pytest.raises(ConfigurationError, match="does not fit the base class Base"):
        type("Derived", (base,), {"f": method("b: str, a: str) -> (int")})
    api: Any = type("Api", (GrainInterface,), {"f": method("a: str, b: str) -> (int")})
    with pytest.raises(ConfigurationError, match="does not fit the interface Api"):
        type("WiderApi", (api,), {"f": method("b: str, a: str) -> (int")})


# --- any pair of signatures ----------------------------------------------------------------------------------------

KINDS = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@st.composite
def signatures(draw: st.DrawFn) -> str:
    """Parameters as source: of each kind, some with a default, all of one type."""
    names = draw(st.lists(st.sampled_from("abc"), unique=True, max_size=3))
    kinds = sorted(draw(st.sampled_from(KINDS)) for _ in names)
    parameters: list[inspect.Parameter] = []
    for name, kind in zip(names, kinds, strict=True):
        after_default = any(each.default is not each.empty for each in parameters)
        needs = after_default and kind is not inspect.Parameter.KEYWORD_ONLY
        default = draw(st.just(0) if needs else st.sampled_from([inspect.Parameter.empty, 0]))
        parameters.append(inspect.Parameter(name, kind, default=default, annotation=int))
    return str(inspect.Signature(parameters))[1:-1]


def received(caller: MethodSpec, callee: MethodSpec, args: tuple[int, ...], kwargs: dict[str, int]) -> dict[str, int]:
    """The values by name that the method gets: bound by one signature, and received by the other one by position."""
    sent = caller.bind(args, kwargs)
    values = {each.name: each.default for each in callee.parameters}
    return {**values, **{each.name: value for each, value in zip(callee.parameters, sent, strict=False)}}


@given(signatures(), signatures(), st.data())
def test_what_a_caller_names_is_what_the_method_gets(interface: str, grain: str, data: st.DataObject) -> None:
    """For each pair that is accepted, every call by the interface arrives with the values that the caller meant."""
    tail = ") -> (None"
    try:
        api, cart = pair(interface + tail, grain + tail)
    except ConfigurationError:
        assert interface != grain
        return
    ours, theirs = spec_of(api).methods["f"], spec_of(cart).methods["f"]
    given = data.draw(st.sets(st.sampled_from(ours.parameters))) if ours.parameters else set()
    required = {each for each in ours.parameters if each.default is each.empty}
    values = {each.name: at + 1 for at, each in enumerate(ours.parameters) if each in given | required}
    positional = [each.name for each in ours.parameters if each.kind is each.POSITIONAL_ONLY]
    filled = positional[: next((at for at, name in enumerate(positional) if name not in values), len(positional))]
    values = {name: value for name, value in values.items() if name not in positional or name in filled}
    got = received(
        ours, theirs, tuple(values[name] for name in filled), {n: values[n] for n in values if n not in filled}
    )
    meant = {each.name: values.get(each.name, each.default) for each in ours.parameters}
    assert {name: got[name] for name in meant} == meant
