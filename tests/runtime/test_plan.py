"""Method plans: encoding, decoding, isolation, and messages that name the argument."""

from __future__ import annotations

import datetime as dt
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from grange import CallError, ConfigurationError, Grain, InvalidCall, InvalidResult, PayloadTooLarge, response_timeout
from grange.grains.definition import spec_of
from grange.proto.message import Encoding
from grange.proto.values import ValueCodec
from grange.runtime.requests.plan import MethodPlan, Plans
from tests.proto.generated import Animal, Dog, Frozen, Rights, fits, misfits, same


@dataclass
class Line:
    sku: str
    amount: int = 1

    def __post_init__(self) -> None:
        if self.amount < 0:
            raise LookupError("a negative amount")


class Cart(Grain):
    async def add(self, line: Line, note: str = "", *, urgent: bool = False, tags: list[str] | None = None) -> Line: ...
    async def nothing(self) -> None: ...
    async def number(self, n: float) -> float: ...
    async def texts(self, a: str, b: str, c: str, d: str) -> None: ...
    @response_timeout(5)
    async def slow(self) -> None: ...
    async def many(
        self, a: int, b: int, c: int, d: int, e: int, f: int, g: int, h: int,
        i: int, j: int, k: int, ll: int, m: int, n: int, o: int, p: int, q: int = 17,
    ) -> int: ...  # fmt: skip


PLANS = Plans(ValueCodec())


def plan(name: str) -> MethodPlan:
    return PLANS[spec_of(Cart).methods[name]]


def test_a_plan_is_made_once() -> None:
    assert plan("add") is plan("add")
    assert PLANS.of_interface(spec_of(Cart))["add"] is plan("add")


def test_a_method_may_have_its_own_time() -> None:
    assert plan("slow").timeout == 5
    assert plan("add").timeout is None


# --- the wire ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "args",
    [
        (Line("a"),),
        (Line("a"), "n"),
        (Line("a"), "n", True),
        (Line("a"), "n", True, ["x"]),
        (Line("a"), "", False, None),
    ],
)
def test_arguments_are_read_back(args: tuple[Any, ...]) -> None:
    """Missing trailing arguments stay missing, so the defaults of the method apply."""
    assert plan("add").decode(plan("add").encode(args)) == args


@given(st.integers(0, 17))
def test_any_number_of_arguments(count: int) -> None:
    """More than fifteen arguments have another header; too few are refused with the names of the rest."""
    args = tuple(range(count))
    payload = plan("many").encode(args)
    if count >= 16:
        assert plan("many").decode(payload) == args
    else:
        with pytest.raises(InvalidCall, match=r"cart\.many: (argument|the arguments) .*'\w+' (is|are) missing"):
            plan("many").decode(payload)


def test_a_header_longer_than_needed_is_read() -> None:
    """Clients in other languages may write an array of two items with a header of three bytes."""
    assert plan("number").decode(b"\xdc\x00\x01\xcb" + b"?\xf8" + b"\x00" * 6) == (1.5,)


@pytest.mark.parametrize(
    ("text", "args"),
    [
        ('[{"sku": "a"}]', (Line("a"),)),
        ('{"line": {"sku": "a"}}', (Line("a"),)),
        ('  {"line": {"sku": "a"}, "urgent": true}', (Line("a"), "", True)),
        ('{"tags": ["x"], "line": {"sku": "a"}}', (Line("a"), "", False, ["x"])),
    ],
)
def test_json_is_by_position_or_by_name(text: str, args: tuple[Any, ...]) -> None:
    """A gap before a named argument is filled with that parameter's default."""
    assert plan("add").decode(text.encode(), Encoding.JSON) == args


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[]", "argument 'line' is missing"),
        ("[1]", "argument 'line'"),
        ('[{"sku": 7}]', r"argument 'line'\.sku"),
        ('[{"sku": "a"}, 5]', "argument 'note'"),
        ('[{"sku": "a"}, "", true, [1]]', r"argument 'tags'\[0\]"),
        ('[{"sku": "a"}, "", true, null, 1]', "there are too many arguments; it takes line, note, urgent, tags"),
        ('{"line": {"sku": "a"}, "unknown": 1}', "there is no argument 'unknown'; it takes line, note, urgent, tags"),
        ("{}", "argument 'line' is missing"),
        ('{"line": {"sku": 7}}', r"argument 'line'\.sku"),
        ('{"line": {}}', "missing required field `sku` - at `argument 'line'`"),
        ("7", "array"),
        ("", "truncated"),
        ("[", "truncated"),
    ],
)
def test_what_does_not_fit_names_method_and_argument(text: str, says: str) -> None:
    with pytest.raises(InvalidCall, match=rf"cart\.add: .*{says}"):
        plan("add").decode(text.encode(), Encoding.JSON)


def test_an_error_of_the_authors_validator_means_not_executed() -> None:
    """After any error of a `__post_init__` or a validator: the method did not run, and the caller gets that outcome."""
    for encoding, data in {
        Encoding.JSON: b'[{"sku": "a", "amount": -1}]',
        Encoding.MSGPACK: msgspec.msgpack.encode([{"sku": "a", "amount": -1}]),
    }.items():
        with pytest.raises(InvalidCall, match="a negative amount"):
            plan("add").decode(data, encoding)


@given(st.binary(max_size=100), st.sampled_from(["add", "nothing", "many", "texts"]), st.sampled_from(Encoding))
def test_no_bytes_break_the_reader(data: bytes, name: str, encoding: Encoding) -> None:
    try:
        plan(name).decode(data, encoding)
    except InvalidCall:
        return


@pytest.mark.parametrize("value", [object(), 2**70, "\ud800"])
def test_what_cannot_be_written_is_refused(value: object) -> None:
    with pytest.raises(InvalidCall, match=r"cart\.add: "):
        plan("add").encode((value,))
    with pytest.raises(InvalidResult, match=r"cart\.add was executed, its result cannot be sent"):
        plan("add").encode_result(value, Encoding.MSGPACK, 100)
    with pytest.raises(InvalidResult, match="was executed"):
        plan("add").isolate_result(value)


def test_a_result_that_does_not_fit_was_executed() -> None:
    assert plan("number").decode_result(msgspec.msgpack.encode(1)) == 1.0
    with pytest.raises(InvalidResult, match=r"cart\.number was executed, its result does not fit"):
        plan("number").decode_result(msgspec.msgpack.encode("x"))


# --- isolation -----------------------------------------------------------------------------------------------------


def test_mutable_arguments_are_copied() -> None:
    line, note, tags = Line("a"), "note", ["x"]
    isolated = plan("add").isolate((line, note, True, tags))
    assert isolated == (line, note, True, tags)
    assert isolated[0] is not line
    assert isolated[3] is not tags


def test_what_cannot_change_costs_nothing() -> None:
    args = (1.5,)
    assert plan("number").isolate(args) is args


def test_a_value_of_another_class_than_annotated_is_converted_or_refused_as_in_a_remote_call() -> None:
    """An int for a float arrives as a float, locally and remotely; a text is refused."""
    near, far = plan("number").isolate((1,)), plan("number").decode(plan("number").encode((1,)))
    assert near == far == (1.0,)
    assert type(near[0]) is type(far[0]) is float
    with pytest.raises(InvalidCall, match=r"cart\.number: .*argument 'n'"):
        plan("number").isolate(("1",))


def test_missing_arguments_stay_missing_when_others_are_copied() -> None:
    assert plan("add").isolate((Line("a"),)) == (Line("a"),)


def test_a_result_is_the_callers_own() -> None:
    line = Line("a")
    assert plan("add").isolate_result(line) == line
    assert plan("add").isolate_result(line) is not line


# --- near is far ---------------------------------------------------------------------------------------------------


def plan_of(kind: Any, result: Any = None, payload_limit: int = 1_000_000) -> MethodPlan:
    """The plan of a method with one argument of this type."""

    async def take(self: Any, value: Any) -> Any: ...

    take.__annotations__.update({"value": kind, "return": result})
    cls: Any = types.new_class("Near", (Grain,), exec_body=lambda body: body.update(take=take))
    return MethodPlan(spec_of(cls).methods["take"], PLANS.codec, payload_limit)


def outcome(act: Callable[[], Any]) -> Any:
    """What a call gives, or the class of its error."""
    try:
        return act()
    except CallError as error:
        return type(error)


def alike(near: Any, far: Any) -> bool:
    return near is far if isinstance(near, type) or isinstance(far, type) else same(near, far)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(fits() | misfits())
def test_a_local_call_takes_and_refuses_what_a_remote_one_does(typed: tuple[Any, Any]) -> None:
    """The same values arrive, and the same values are refused by the same errors."""
    kind, value = typed
    subject = plan_of(kind, kind)
    near = outcome(lambda: subject.isolate((value,)))
    assert alike(near, outcome(lambda: subject.decode(subject.encode((value,)))))
    near_result = outcome(lambda: subject.isolate_result(value))
    far_result = outcome(lambda: subject.decode_result(subject.encode_result(value, Encoding.MSGPACK, 1_000_000)))
    assert alike(near_result, far_result)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (int, 2**64),
        (int, -(2**63) - 1),
        (str, "\ud800"),
        (Annotated[int, msgspec.Meta(gt=0)], 0),
        (Annotated[str, msgspec.Meta(max_length=2)], "abc"),
        (Literal["a", 1], "b"),
        (Literal["a", 1], True),
        (Animal, Dog()),
        (int | None, "1"),
        (Frozen, Frozen("x")),  # type: ignore[arg-type]
        (Rights, 1.5),
    ],
)
def test_constraints_hold_near_and_far(kind: Any, value: Any) -> None:
    subject = plan_of(kind, kind)
    for refuse in (lambda: subject.isolate((value,)), lambda: subject.decode(subject.encode((value,)))):
        with pytest.raises(InvalidCall, match=r"near\.take"):
            refuse()
    with pytest.raises(InvalidResult, match="was executed"):
        subject.isolate_result(value)
    with pytest.raises(InvalidResult, match="was executed"):
        subject.decode_result(subject.encode_result(value, Encoding.MSGPACK, 1_000))


def test_a_named_zone_is_shared_only_if_its_key_gives_the_same_zone() -> None:
    """A zone from a file may lie about its key."""
    subject = plan_of(dt.datetime)
    named = dt.datetime(2024, 7, 1, tzinfo=ZoneInfo("Europe/Berlin"))
    assert subject.isolate((named,))[0] is named
    again = dt.datetime(2024, 7, 1, tzinfo=ZoneInfo.no_cache("Europe/Berlin"))
    (received,) = subject.isolate((again,))
    assert received.tzinfo is ZoneInfo("Europe/Berlin")


SIZED: list[tuple[Any, Callable[[int], Any]]] = [
    (bytes, lambda size: b"x" * size),
    (str, lambda size: "x" * size),
    (list[str], lambda size: ["x" * size]),
    (Animal, lambda size: Animal("x" * size)),
    (Any, lambda size: "x" * size),
]


@pytest.mark.parametrize("limit", [50, 100, 1_000, 100_000])
@pytest.mark.parametrize(("kind", "of_size"), SIZED)
def test_sizes_are_refused_alike_to_the_byte(kind: Any, of_size: Callable[[int], Any], limit: int) -> None:
    subject = plan_of(kind, kind, limit)
    largest = max(size for size in range(limit - 30, limit) if len(plan_of(kind).encode((of_size(size),))) <= limit)
    fits, over = of_size(largest), of_size(largest + 1)
    assert subject.isolate((fits,)) == subject.decode(subject.encode((fits,))) == (fits,)
    for refuse in (subject.isolate, subject.encode):
        with pytest.raises(PayloadTooLarge, match=f"have {limit + 1} bytes; the limit is {limit}") as caught:
            refuse((over,))
        assert (caught.value.size, caught.value.limit) == (limit + 1, limit)
    # A result has no array around it, so one more byte fits.
    assert subject.isolate_result(over) == over
    with pytest.raises(InvalidResult, match=f"result has {limit + 1} bytes; the limit is {limit}"):
        subject.isolate_result(of_size(largest + 2))


def test_many_short_texts_are_measured_together() -> None:
    """Each is short enough to be shared, all of them are over the limit."""
    limit = len(plan("many").encode(tuple(range(17)))) + 10
    tight = MethodPlan(spec_of(Cart).methods["texts"], PLANS.codec, limit)
    texts = ("x" * 20,) * 4
    for refuse in (tight.isolate, tight.encode):
        with pytest.raises(PayloadTooLarge):
            refuse(texts)


# --- running -------------------------------------------------------------------------------------------------------


async def test_keyword_only_arguments_reach_the_method_by_name() -> None:
    class Echo(Grain):
        async def say(self, a: int, b: int = 2, *, c: int, d: int = 4) -> tuple[int, int, int, int]:
            return a, b, c, d

    spec = spec_of(Echo).methods["say"]
    for args, kwargs in (((1,), {"c": 3}), ((1, 2), {"c": 3, "d": 4}), ((), {"c": 3, "a": 1})):
        assert await spec.invoke(Echo(), *spec.bind(args, kwargs)) == (1, 2, 3, 4)


@pytest.mark.parametrize(
    ("annotations", "place"),
    [({"x": object, "return": None}, r"bad\.add, argument 'x'"), ({"x": int, "return": object}, r"bad\.add, result")],
)
def test_types_that_cannot_be_sent_are_refused_with_their_place(annotations: dict[str, Any], place: str) -> None:
    async def add(self: Any, x: Any) -> Any: ...

    add.__annotations__.update(annotations)
    cls: Any = types.new_class("Bad", (Grain,), exec_body=lambda body: body.update(add=add))
    with pytest.raises(ConfigurationError, match=f"{place}: object cannot be sent"):
        Plans(ValueCodec()).of_interface(spec_of(cls))


@dataclass
class Row:
    sku: str
    qty: int = 1


class Sheet(Grain):
    async def add(self, rows: list[Row], note: Row | None = None, named: dict[str, Row] | None = None) -> int:
        return len(rows)


@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        ('[[{"sku":"q","quantity":4}]]', r"argument 'rows'\[0\]\.quantity"),
        ('{"rows":[],"note":{"sku":"q","amount":1}}', r"argument 'note'\.amount"),
        ('{"rows":[],"named":{"a":{"sku":"q","n":1}}}', r"argument 'named'.*n"),
    ],
)
def test_a_field_that_a_class_does_not_have_is_refused_in_json(arguments: str, place: str) -> None:
    """`grange call`: the call would run without the value that a person wrote."""
    plan = MethodPlan(spec_of(Sheet).methods["add"], ValueCodec(), 4_000_000)
    with pytest.raises(InvalidCall, match=place):
        plan.decode(arguments.encode(), Encoding.JSON)
    assert plan.decode(b'[[{"sku":"q","qty":4}]]', Encoding.JSON) == ([Row("q", 4)],)


def test_texts_that_are_too_large_together_are_refused_in_a_local_call() -> None:
    """Each of them is short enough to be shared alone."""
    small = MethodPlan(spec_of(Cart).methods["texts"], ValueCodec(), 1_500)
    with pytest.raises(PayloadTooLarge):
        small.encode(("x" * 500,) * 4)
    with pytest.raises(PayloadTooLarge):
        small.isolate(("x" * 500,) * 4)
    fitting = ("x" * 100,) * 4
    assert small.isolate(fitting) is fitting
