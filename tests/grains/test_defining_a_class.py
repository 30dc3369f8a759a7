"""Errors of grain classes and interfaces, at definition or first use: each has the name and a remedy."""

from __future__ import annotations

import functools
from typing import Any
from uuid import UUID

import pytest

from grange import (
    CallTimeout,
    ConfigurationError,
    Grain,
    GrainInterface,
    GrainObserver,
    SiloService,
    always_interleave,
    one_way,
    read_only,
    response_timeout,
)
from grange.grains.deactivation import DeactivationReason
from grange.grains.decorators import MethodOptions, method_options
from grange.grains.definition import interfaces_of, is_interface, spec_of
from grange.grains.options import snake_case


async def async_predicate(method: str, args: tuple[Any, ...]) -> bool:
    return True


def define(members: dict[str, Any] | None = None, bases: tuple[type, ...] = (Grain,), **keywords: Any) -> type[Grain]:
    """A grain class named Cart with these members and class keywords."""
    return type("Cart", bases, dict(members or {}), **keywords)


# --- options -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keywords", "says"),
    [
        (
            {"idle_timout": 5},
            r"unknown option idle_timout; did you mean idle_timeout\? known are default, ",
        ),
        ({"lifetime": 5}, "unknown option lifetime; known are default, detect_deadlocks, errors"),
        ({"name": "Cart"}, "name='Cart' must match"),
        ({"name": ""}, "name='' must match"),
        ({"name": "a/b"}, "name='a/b' must match"),
        ({"name": "x" * 65}, "must match"),
        ({"name": "ca\nrt"}, "must match"),
        ({"name": "cart\n"}, "must match"),
        ({"name": "grange.system"}, "reserved for the runtime"),
        ({"idle_timeout": 0}, "idle_timeout=0 must be a positive number"),
        ({"idle_timeout": -1.5}, "idle_timeout=-1.5 must be"),
        ({"idle_timeout": "10 min"}, "idle_timeout='10 min' must be a positive number"),
        ({"name": 7}, "name=7 must match"),
        ({"stateless_workers": "4"}, "stateless_workers= must be a whole number"),
        ({"mailbox_limit": 1.5}, "mailbox_limit= must be a whole number"),
        ({"idle_timeout": float("nan")}, "idle_timeout=nan must be"),
        ({"keep_alive": True, "idle_timeout": 5}, "keep_alive=True contradicts idle_timeout="),
        ({"reentrant": True, "may_interleave": lambda m, a: True}, "reentrant=True contradicts may_interleave="),
        ({"stateless_workers": -1}, "stateless_workers= must be a whole number, 0 or more"),
        ({"stateless_workers": 2, "placement": "random"}, "stateless_workers= contradicts placement="),
        ({"mailbox_limit": 0}, "mailbox_limit= must be a whole number, 1 or more"),
        ({"errors": [ValueError, "KeyError"]}, "errors= must name exception classes"),
        ({"errors": [KeyboardInterrupt]}, "errors= must name exception classes"),
        ({"errors": [CallTimeout]}, "errors= must not name a CallError"),
        ({"key": float}, "a grain key is str, int, UUID or a tuple"),
        ({"key": bool}, "grain class Cart: a grain key is str, int, UUID or a tuple"),
        ({"idle_timeout": True}, "idle_timeout=True must be a positive number"),
        ({"idle_timeout": float("inf")}, "idle_timeout=inf must be .*; .*say keep_alive=True"),
        ({"idle_timeout": 1e12}, "idle_timeout=1000000000000.0 must be .*, at most 315360000"),
        ({"keep_alive": "yes"}, "keep_alive='yes' must be True or False"),
        ({"reentrant": 1}, "reentrant=1 must be True or False"),
        ({"default": None}, "default=None must be True or False"),
        ({"placement": ""}, "placement='' must name a strategy"),
        ({"placement": None}, "placement=None must name a strategy"),
        ({"stateless_workers": True}, "stateless_workers= must be a whole number"),
        ({"mailbox_limit": -1}, "mailbox_limit= must be a whole number"),
        ({"mailbox_limit": True}, "mailbox_limit= must be a whole number"),
        ({"version": -1}, "version=-1 must be a whole number"),
        ({"version": "1"}, "version='1' must be a whole number"),
        ({"errors": 5}, "errors= must name exception classes, not 5"),
        ({"errors": [ValueError("x")]}, "errors= must name exception classes"),
        ({"errors": "ValueError"}, "errors= must name exception classes"),
        ({"may_interleave": "nothing"}, "may_interleave='nothing' names no method of the class"),
        ({"may_interleave": 5}, "may_interleave=5 must be a plain def"),
        ({"may_interleave": lambda method: True}, "must take .method, args.: too many positional arguments"),
        ({"may_interleave": async_predicate}, "must be a plain def, not async"),
    ],
)
def test_wrong_options_stop_the_definition(keywords: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as caught:
        define(**keywords)
    assert "grain class Cart: " in str(caught.value)


def test_the_method_that_may_interleave_names_has_the_right_shape() -> None:
    for wrong in (async_predicate, lambda self, method: True, 5, staticmethod(lambda self, method, args: True)):
        with pytest.raises(ConfigurationError, match="grain class Cart: may_interleave='may'"):
            define({"may": wrong}, may_interleave="may")
    for fine in (
        lambda self, method, args: True,
        staticmethod(lambda method, args: True),
        classmethod(lambda cls, method, args: True),
    ):
        assert spec_of(define({"may": fine}, may_interleave="may")).options.may_interleave == "may"


@pytest.mark.parametrize("name", ["a", "cart", "shop.cart_2", "x" * 64])
def test_good_names(name: str) -> None:
    assert spec_of(define(name=name)).name == name


@pytest.mark.parametrize(
    ("name", "snake"),
    [
        ("Cart", "cart"),
        ("ShoppingCart", "shopping_cart"),
        ("HTTPServer", "http_server"),
        ("X", "x"),
        ("Cart2Go", "cart2_go"),
        ("already_snake", "already_snake"),
    ],
)
def test_class_names_become_names(name: str, snake: str) -> None:
    assert snake_case(name) == snake


# --- methods -------------------------------------------------------------------------------------------------------


async def without_type(self: Any, sku) -> None: ...


async def without_result(self: Any, sku: str): ...


async def with_rest(self: Any, *skus: str) -> None: ...


async def with_names(self: Any, **skus: str) -> None: ...


async def without_self() -> None: ...


def not_async(self: Any) -> None: ...


@pytest.mark.parametrize(
    ("method", "says"),
    [
        (without_type, r"Cart\.add: the argument 'sku' needs a type annotation"),
        (without_result, r"Cart\.add: the result needs a type annotation \(-> None if there is none\)"),
        (with_rest, r"Cart\.add: \*skus cannot be sent; name each argument"),
        (with_names, r"Cart\.add: \*skus cannot be sent"),
        (property(read_only(without_self)), r"Cart\.add has method options but .*@read_only has no effect"),
        (classmethod(read_only(without_self)), r"Cart\.add has method options but is not an async def"),
        (staticmethod(read_only(without_self)), r"Cart\.add has method options but is not an async def"),
        (functools.partialmethod(read_only(without_self)), r"Cart\.add has method options but is not an async def"),
        (
            functools.wraps(read_only(without_self))(lambda self: None),
            r"Cart\.add has method options but is not an async def",
        ),
    ],
)
def test_methods_that_could_never_be_called_stop_the_definition(method: Any, says: str) -> None:
    for base in (Grain, GrainInterface):
        with pytest.raises(ConfigurationError, match=says):
            define({"add": method}, bases=(base,))


def test_a_one_way_method_has_no_result() -> None:
    for fine in (None, "None", type(None)):

        async def notify(self: Any) -> None: ...

        notify.__annotations__["return"] = fine
        define({"notify": one_way(notify)})

    async def count(self: Any) -> int: ...  # type: ignore[empty-body]

    with pytest.raises(ConfigurationError, match=r"Cart\.count: a one-way method has no answer"):
        define({"count": one_way(count)})


@pytest.mark.parametrize("name", ["key", "id", "reference", "get_grain", "start_timer", "deactivate_when_idle"])
def test_names_of_grain_cannot_be_taken(name: str) -> None:
    """Such a method would not be callable, and would break the method of Grain."""

    async def method(self: Any) -> str: ...  # type: ignore[empty-body]

    for base in (Grain, GrainInterface):
        with pytest.raises(ConfigurationError, match=f"Cart: {name} is a name of Grain; choose another"):
            define({name: method}, bases=(base,))


def test_an_interface_holds_async_methods() -> None:
    """A forgotten `async` would leave the method out of the contract."""
    with pytest.raises(ConfigurationError, match=r"Cart\.add: an interface holds methods .*; make it an async def"):
        define({"add": not_async}, bases=(GrainInterface,))
    define({"_add": not_async, "limit": 3}, bases=(GrainInterface,))


@pytest.mark.parametrize(
    "bases",
    [(Grain, GrainObserver), (GrainObserver, GrainInterface), (SiloService, GrainObserver)],
)
def test_a_class_is_of_one_kind(bases: tuple[type, ...]) -> None:
    """Its references would be those of a grain and of an observer at once."""
    with pytest.raises(
        ConfigurationError, match=f"Cart derives from .*{bases[0].__name__}.*; a class is a grain, with or"
    ):
        define({}, bases)


def test_only_public_coroutines_are_methods() -> None:
    class Cart(Grain):
        constant = 1

        async def add(self, sku: str) -> None: ...
        async def _private(self, anything, goes): ...
        def plain(self, anything): ...
        async def on_activate(self) -> None: ...
        async def on_deactivate(self, reason: DeactivationReason) -> None: ...
        async def on_reminder(self, tick): ...

        @property
        def size(self): ...

        class Inner:
            pass

    assert list(spec_of(Cart).methods) == ["add"]


def test_an_annotation_that_cannot_be_resolved_is_told_at_first_use() -> None:
    class Cart(Grain):
        async def add(self, sku: NoSuchName) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(ConfigurationError, match=r"Cart\.add: an annotation cannot be resolved: .*NoSuchName"):
        spec_of(Cart)


def test_a_class_that_is_no_grain_of_yours_is_named() -> None:
    for cls in (Grain, GrainInterface):
        with pytest.raises(ConfigurationError, match="derive from Grain"):
            spec_of(cls)


# --- decorators ----------------------------------------------------------------------------------------------------


def test_method_options_add_up() -> None:
    @read_only
    @response_timeout(5)
    @always_interleave
    async def method(self: Any) -> None: ...

    assert method_options(method) == MethodOptions(read_only=True, always_interleave=True, timeout=5.0)
    assert str(method_options(method)) == "@read_only, @always_interleave, @response_timeout(5)"
    assert method_options(one_way(method)).one_way
    assert method_options(not_async) == MethodOptions()


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), 1e12, "5", True, None])
def test_a_response_timeout_is_positive(seconds: float) -> None:
    with pytest.raises(ConfigurationError, match="must be a positive number of seconds"):
        response_timeout(seconds)


def test_a_response_timeout_needs_its_seconds() -> None:
    with pytest.raises(ConfigurationError, match=r"write @response_timeout\(5\)"):
        response_timeout(without_type)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong", [5, not_async, functools.partial(not_async), property(without_type), classmethod(without_type), Grain]
)
def test_options_decorate_async_functions_only(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"decorate an async def, not .*; put them on the async def itself"):
        read_only(wrong)


@pytest.mark.parametrize("name", ["_private", "on_activate", "__aenter__"])
def test_options_of_methods_that_no_reference_calls_are_refused(name: str) -> None:
    @always_interleave
    async def method(self: Any) -> None: ...

    says = rf"Cart\.{name}: @always_interleave has no effect on a hook or a private method"
    with pytest.raises(ConfigurationError, match=says):
        define({name: method})
    if name == "_private":
        for hidden in (property(method), functools.cached_property(method)):
            with pytest.raises(ConfigurationError, match=says):
                define({name: hidden})


def test_a_decorator_that_keeps_the_signature_keeps_the_options() -> None:
    def traced(function: Any) -> Any:
        @functools.wraps(function)
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            return await function(*args, **kwargs)

        return wrapper

    class Cart(Grain):
        @traced
        @read_only
        async def inside(self, sku: str) -> None: ...

        @read_only
        @traced
        async def outside(self, sku: str) -> None: ...

    methods = spec_of(Cart).methods
    assert (methods["inside"].options.read_only, methods["outside"].options.read_only) == (True, True)
    assert methods["inside"].types == (str,)


# --- keys ----------------------------------------------------------------------------------------------------------


class Numbered(Grain[int]):
    async def get(self) -> int:
        return self.key


def test_the_kind_of_key_comes_from_one_place() -> None:
    assert spec_of(Numbered).options.key is int
    assert spec_of(define(key=(str, int))).options.key == (str, int)
    assert spec_of(define()).options.key is str
    assert spec_of(define(bases=(Numbered,))).options.key is int


def test_two_kinds_of_key_contradict() -> None:
    with pytest.raises(ConfigurationError, match="Wrong: key=, Grain"):

        class Wrong(Grain[int], key=str):
            pass

    class ByUuid(GrainInterface, key=UUID):
        async def get(self) -> int: ...

    with pytest.raises(ConfigurationError, match="name different keys"):
        define({"get": Numbered.get}, bases=(Numbered, ByUuid))


# --- inheritance ---------------------------------------------------------------------------------------------------


class Base(Grain, name="base", idle_timeout=5):
    async def shared(self) -> str:
        return "base"

    @read_only
    async def overridden(self, x: int) -> str:
        return "base"


class Mixin:
    async def mixed_in(self, y: str) -> str:
        return y


class Derived(Mixin, Base):
    async def overridden(self, x: int, more: str = "") -> str:
        return "derived"

    async def own(self) -> None: ...


def test_methods_of_base_classes_are_callable() -> None:
    """Including plain mixins. An overridden method has the signature of the overriding class, and the options of both.

    Callers may hold a reference to the base class, and rely on its options.
    """
    methods = spec_of(Derived).methods
    assert sorted(methods) == ["mixed_in", "overridden", "own", "shared"]
    assert methods["overridden"].arity == 2
    assert methods["overridden"].options.read_only
    assert spec_of(Base).methods["overridden"].options.read_only
    assert methods["shared"].owner == "derived"


def test_a_derived_class_has_a_name_of_its_own_and_inherits_the_options() -> None:
    """Its instances are other grains than those of its base, and their states must stay apart."""
    assert spec_of(Derived).name == "derived"
    assert spec_of(Derived).options.idle_timeout == 5
    assert spec_of(Base) is not spec_of(Derived)


# --- interfaces ----------------------------------------------------------------------------------------------------


class Api(GrainInterface, name="api"):
    async def add(self, sku: str) -> int: ...
    async def remove(self, sku: str) -> int: ...


class WiderApi(Api, name="wider_api"):
    async def more(self) -> int: ...


def test_an_interface_must_be_implemented_whole() -> None:
    async def add(self: Any, sku: str) -> int:
        return 1

    with pytest.raises(ConfigurationError, match="Cart does not implement remove of the interface Api"):
        define({"add": add}, bases=(Grain, Api))
    with pytest.raises(ConfigurationError, match="does not implement"):
        define({"add": add, "remove": add}, bases=(Grain, WiderApi))


def test_a_grain_implements_the_interfaces_of_its_interfaces() -> None:
    class Cart(Grain, WiderApi):
        async def add(self, sku: str) -> int:
            return 1

        async def remove(self, sku: str) -> int:
            return 1

        async def more(self) -> int:
            return 1

    class Special(Cart):
        pass

    assert interfaces_of(Cart) == {WiderApi: "wider_api", Api: "api"}
    assert interfaces_of(Special) == {WiderApi: "wider_api", Api: "api"}
    assert (is_interface(Api), is_interface(Cart), is_interface(Special)) == (True, False, False)


# --- binding arguments ---------------------------------------------------------------------------------------------


class Binds(Grain):
    async def method(self, a: int, b: str = "b", *, c: bool = True, d: float | None = None) -> None: ...
    async def plain(self, a: int, b: str = "b") -> None: ...
    async def gap(self, a: int = 1, *, b: int) -> None: ...


@pytest.mark.parametrize(
    ("name", "args", "kwargs", "bound"),
    [
        ("plain", (1, "x"), {}, (1, "x")),
        ("plain", (1,), {}, (1,)),
        ("plain", (), {"b": "x", "a": 1}, (1, "x")),
        ("method", (1,), {"c": False}, (1, "b", False, None)),
        ("method", (1,), {"d": 2.0}, (1, "b", True, 2.0)),
        ("method", (1,), {}, (1,)),
        ("method", (1, "x"), {"d": 1.0, "c": False}, (1, "x", False, 1.0)),
        ("gap", (), {"b": 2}, (1, 2)),
    ],
)
def test_arguments_are_put_in_order(name: str, args: tuple[Any, ...], kwargs: dict[str, Any], bound: Any) -> None:
    assert spec_of(Binds).methods[name].bind(args, kwargs) == bound


@pytest.mark.parametrize(
    ("name", "args", "kwargs", "says"),
    [
        ("plain", (), {}, "missing a required argument: 'a'"),
        ("plain", (1, "x", 2), {}, "too many positional arguments"),
        ("plain", (1,), {"a": 1}, "multiple values for argument 'a'"),
        ("plain", (1,), {"z": 1}, "unexpected keyword argument 'z'"),
        ("method", (1, "x", True), {}, "too many positional arguments"),
        ("gap", (), {}, "missing a required .*'b'"),
    ],
)
def test_wrong_arguments_name_the_method(name: str, args: tuple[Any, ...], kwargs: dict[str, Any], says: str) -> None:
    with pytest.raises(TypeError, match=rf"binds\.{name}: .*{says}"):
        spec_of(Binds).methods[name].bind(args, kwargs)
