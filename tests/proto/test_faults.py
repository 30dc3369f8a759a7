"""Errors to wire form and back: which are rebuilt, which stay remote, and that every error is sent."""

from __future__ import annotations

import asyncio
import builtins
import dataclasses
import datetime as dt
import decimal
import uuid
from typing import Any
from zoneinfo import ZoneInfo

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grange import (
    CallCancelled,
    CallTimeout,
    ConfigurationError,
    InconsistentStateError,
    InvalidResult,
    Overloaded,
    RemoteError,
    SiloUnavailable,
    StorageUnavailable,
)
from grange.proto.fault_values import DATETIME
from grange.proto.faults import Clash, Fault, Faults, type_name

BIGGEST = 256 * 1024
"""Largest bytes of any fault: far below the payload limit, so an answer never fails because of its error."""


class OutOfStock(Exception):
    def __init__(self, sku: str, left: int) -> None:
        super().__init__(f"{sku}: {left} left")
        self.sku = sku
        self.left = left
        self.place = object()
        self._kept = "a property over a private name"

    @property
    def kept(self) -> str:
        return self._kept


class Picky(Exception):
    """Its `__new__` takes more arguments than it keeps in `args`."""

    def __new__(cls, one: object, two: object) -> Picky:
        return super().__new__(cls)

    def __init__(self, one: object, two: object) -> None:
        super().__init__(one)


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


VALUES = [
    None, True, 2**64, -(2**63) - 1, 0.5, -0.0, "lone \ud800", b"\xff", ["list"], (1, (2,)), {1}, frozenset({"a"}),
    {1: 2}, {"a": (1,)}, dt.datetime(2026, 1, 2, 3, 4, 5, 6), dt.date(2026, 1, 2), dt.time(1, 2),
    dt.datetime(2026, 1, 2, tzinfo=dt.timezone(dt.timedelta(hours=-4))), dt.timedelta(-1, 2, 3),
    decimal.Decimal("1.10"), uuid.UUID(int=7), 1 + 2j,
]  # fmt: skip


def nested_group(depth: int) -> Exception:
    error: Exception = ValueError("x")
    for _ in range(depth):
        error = ExceptionGroup("g", [error])
    return error


def sent(error: BaseException, *registered: type[Exception]) -> Exception:
    """The error as a remote caller gets it."""
    faults = Faults(registered)
    data = msgspec.msgpack.encode(faults.dump(error))
    assert len(data) < BIGGEST
    return faults.load(msgspec.msgpack.decode(data, type=Fault))


REBUILT = sorted(
    (
        cls
        for cls in vars(builtins).values()
        if isinstance(cls, type)
        and issubclass(cls, Exception)
        and not issubclass(cls, (BaseExceptionGroup, UnicodeError, StopIteration, StopAsyncIteration))
    ),
    key=lambda cls: cls.__name__,
)


@pytest.mark.parametrize("cls", REBUILT)
@pytest.mark.parametrize("args", [(), ("boom",)])
def test_builtin_errors_come_back_as_themselves(cls: type[Exception], args: tuple[Any, ...]) -> None:
    error = cls(*args)
    rebuilt = sent(error)
    assert type(rebuilt) is type(error)
    assert rebuilt.args == error.args
    assert str(rebuilt) == str(error)


def test_an_os_error_keeps_its_number_and_class() -> None:
    rebuilt = sent(FileNotFoundError(2, "No such file or directory"))
    assert isinstance(rebuilt, FileNotFoundError)
    assert rebuilt.errno == 2


def test_registered_errors_keep_their_attributes() -> None:
    """Even if the constructor takes other arguments than it passes on. A note names the attributes that are dropped."""
    rebuilt = sent(OutOfStock("apple", 3), OutOfStock)
    assert isinstance(rebuilt, OutOfStock)
    assert (str(rebuilt), rebuilt.sku, rebuilt.left) == ("apple: 3 left", "apple", 3)
    assert rebuilt.kept == "a property over a private name"
    assert not hasattr(rebuilt, "place")
    assert "attribute 'place' (builtins.object)" in rebuilt.__notes__[0]


def test_constructors_of_registered_errors_do_not_run() -> None:
    """Their parameters may differ from `args`; and no code of a class runs for what a peer sends."""
    rebuilt = sent(Picky(1, 2), Picky)
    assert type(rebuilt) is Picky
    assert rebuilt.args == (1,)


def test_unregistered_errors_become_remote_errors_with_everything_as_text() -> None:
    try:
        raise OutOfStock("apple", 3)
    except OutOfStock as error:
        rebuilt = sent(error)
    assert isinstance(rebuilt, RemoteError)
    assert rebuilt.type_name == type_name(OutOfStock)
    assert str(rebuilt) == f"{type_name(OutOfStock)}: apple: 3 left"
    assert "raise OutOfStock" in rebuilt.remote_traceback


def test_a_remote_error_passes_through_unchanged() -> None:
    """Raised in one grain, passed on by a second, received by a third: it keeps its name and its first traceback."""
    first = sent(OutOfStock("apple", 3))
    second = sent(first)
    assert isinstance(first, RemoteError)
    assert isinstance(second, RemoteError)
    assert str(second) == str(first)
    assert second.type_name == first.type_name
    assert second.remote_traceback == first.remote_traceback


@pytest.mark.parametrize("error", [SiloUnavailable("x"), CallTimeout("x"), Overloaded("x", 3.0), CallCancelled("x")])
def test_the_outcome_of_an_inner_call_is_not_that_of_the_outer_one(error: Exception) -> None:
    """A method that raised SiloUnavailable was executed, so its caller must not get "not executed"."""
    for received in (sent(error), Faults().local(error)):
        assert type(received) is RemoteError
        assert received.type_name == type_name(type(error))


def test_errors_of_ours_that_name_no_outcome_come_back() -> None:
    conflict = sent(InconsistentStateError("lost", stored="2", given="1"))
    assert isinstance(conflict, InconsistentStateError)
    assert (str(conflict), conflict.stored, conflict.given) == ("lost", "2", "1")
    assert type(sent(StorageUnavailable("away"))) is StorageUnavailable


def test_an_invalid_result_stays_one() -> None:
    assert type(sent(InvalidResult("too big"))) is InvalidResult


def test_a_cancelled_method_is_no_cancellation_of_the_caller() -> None:
    assert type(sent(asyncio.CancelledError())) is CallCancelled
    assert "enough" in str(sent(asyncio.CancelledError("enough")))


def test_groups_come_back_with_their_errors() -> None:
    group = ExceptionGroup(
        "both", [ValueError("left"), ExceptionGroup("inner", [KeyError((1, 2)), OutOfStock("a", 1)])]
    )
    rebuilt = sent(group)
    assert type(rebuilt) is ExceptionGroup
    left, inner = rebuilt.exceptions
    assert (rebuilt.message, type(left), left.args) == ("both", ValueError, ("left",))
    assert isinstance(inner, ExceptionGroup)
    key, stock = inner.exceptions
    assert (type(key), key.args) == (KeyError, ((1, 2),))
    assert isinstance(stock, RemoteError)


def test_a_group_over_the_size_limit_stays_remote() -> None:
    rebuilt = sent(ExceptionGroup("many", [ValueError("x" * 1000) for _ in range(100)]))
    assert isinstance(rebuilt, RemoteError)
    assert rebuilt.type_name == "ExceptionGroup"
    assert len(msgspec.msgpack.encode(Faults().dump(ExceptionGroup("deep", [nested_group(500)])))) < BIGGEST


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), StopIteration(1)])
def test_what_would_end_the_caller_stays_remote(error: BaseException) -> None:
    assert isinstance(sent(error), RemoteError)


def test_an_error_without_a_text_is_sent_too() -> None:
    rebuilt = sent(Unprintable())
    assert isinstance(rebuilt, RemoteError)
    assert "RuntimeError in __str__" in str(rebuilt)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x" * 10_000_000),
        ValueError(*["x" * 16_000] * 1000),
        ValueError(b"x" * 10_000_000),
        ValueError("x" * 10_000_000, 1),
        ValueError(*range(1_000_000)),
    ],
)
def test_huge_errors_are_cut(error: Exception) -> None:
    """An answer must fit, so only the class and the start of the message are kept."""
    rebuilt = sent(error)
    assert type(rebuilt) is ValueError
    assert rebuilt.args[0][:1] in ("x", "b", "(")


def test_too_many_attributes_stay_behind() -> None:
    error = OutOfStock("apple", 3)
    for number in range(1000):
        setattr(error, f"note_{number}", "x" * 10_000)
    assert sent(error, OutOfStock).args == ("apple: 3 left",)


def test_the_end_of_a_long_traceback_is_kept() -> None:
    """The end shows where the error was raised."""
    error = ValueError("the end")
    error.add_note("x" * 100_000)
    error.add_note("the very end")
    assert "the very end" in sent(error).__notes__[-1]


@pytest.mark.parametrize("value", VALUES)
def test_arguments_come_back_equal(value: object) -> None:
    rebuilt = sent(ValueError(value, [value]))
    assert type(rebuilt) is ValueError
    assert rebuilt.args == (value, [value])
    assert type(rebuilt.args[0]) is type(value)


def test_arguments_that_cannot_be_sent_become_the_message() -> None:
    """A note names them: `raise ValueError(connection)` must reach the caller as a ValueError, not as a time-out."""
    rebuilt = sent(ValueError("closed", object()))
    assert type(rebuilt) is ValueError
    assert rebuilt.args == (str(ValueError("closed", object()))[:20] + rebuilt.args[0][20:],)
    assert "argument 2 (builtins.object)" in rebuilt.__notes__[0]


def test_attributes_that_cannot_be_sent_stay_behind_and_are_named() -> None:
    error = OutOfStock("apple", 2**70)
    error.left = {"many": iter(())}  # type: ignore[assignment]
    rebuilt = sent(error, OutOfStock)
    assert isinstance(rebuilt, OutOfStock)
    assert rebuilt.sku == "apple"
    assert not hasattr(rebuilt, "left")
    assert "attribute 'left' (builtins.dict)" in rebuilt.__notes__[0]


def test_fields_of_builtin_errors_come_back() -> None:
    """What they keep beside `args`: file names, names, positions."""
    missing = sent(FileNotFoundError(2, "No such file", "caf\udce9", None, "to"))
    assert isinstance(missing, FileNotFoundError)
    assert (missing.errno, missing.filename, missing.filename2) == (2, "caf\udce9", "to")
    attribute = sent(AttributeError("no x", name="x", obj=object()))
    assert isinstance(attribute, AttributeError)
    assert (attribute.name, attribute.obj) == ("x", None)
    module = sent(ModuleNotFoundError("no module", name="shop", path="/srv"))
    assert isinstance(module, ModuleNotFoundError)
    assert (module.name, module.path, module.msg) == ("shop", "/srv", "no module")
    name = sent(NameError("not defined", name="y"))
    assert isinstance(name, NameError)
    assert name.name == "y"
    syntax = sent(SyntaxError("bad", ("f.py", 3, 4, "x = ", 3, 5)))
    assert isinstance(syntax, SyntaxError)
    assert (syntax.filename, syntax.lineno, syntax.text, syntax.end_offset) == ("f.py", 3, "x = ", 5)


@pytest.mark.parametrize(
    "error",
    [
        UnicodeDecodeError("utf-8", b"caf\xe9", 3, 4, "unexpected end of data"),
        UnicodeEncodeError("ascii", "caf\xe9", 3, 4, "ordinal not in range"),
        UnicodeTranslateError("caf\xe9", 3, 4, "no"),
    ],
)
def test_unicode_errors_come_back(error: UnicodeError) -> None:
    rebuilt = sent(error)
    assert type(rebuilt) is type(error)
    assert (rebuilt.args, str(rebuilt)) == (error.args, str(error))


class Slotted(Exception):
    __slots__ = ("_hidden", "code")

    def __init__(self, code: int) -> None:
        super().__init__()
        self.code, self._hidden = code, None


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    sku: str
    at: dt.date = dt.date(2026, 1, 2)


@attrs.define
class Defined(Exception):
    sku: str
    left: int = 0


class Coded(OSError):
    def __init__(self, code: str) -> None:
        super().__init__(5, "broken", "/dev/x")
        self.code = code


@pytest.mark.parametrize("error", [Slotted(7), Frozen("apple"), Defined("apple", 3), Coded("E1")])
def test_registered_errors_of_any_shape_come_back(error: Exception) -> None:
    faults = Faults([type(error)])
    for rebuilt in (sent(error, type(error)), faults.local(error)):
        assert type(rebuilt) is type(error)
        assert rebuilt.args == error.args
        assert rebuilt.__cause__ is None
        for name in ("code", "_hidden", "sku", "at", "left", "errno", "filename"):
            assert getattr(rebuilt, name, "absent") == getattr(error, name, "absent")


def test_notes_come_back() -> None:
    error = ValueError("x")
    error.add_note("order 7")
    assert sent(error).__notes__[0] == "order 7"
    assert Faults().local(error).__notes__ == ["order 7"]


def test_a_remote_error_says_how_to_receive_it_as_itself() -> None:
    assert any("errors=" in note for note in sent(OutOfStock("apple", 3)).__notes__)


def test_a_remote_error_stays_one_at_a_caller_that_knows_the_class() -> None:
    """Its attributes are lost already: an object of the class without them would break the caller."""
    passed_on = Faults().load(Faults().dump(OutOfStock("apple", 3)))
    assert type(sent(passed_on, OutOfStock)) is RemoteError


PIECES = st.one_of(
    st.text(), st.integers(), st.floats(), st.binary(), st.none(), st.booleans(), st.complex_numbers()
)  # fmt: skip


@given(st.lists(PIECES))
def test_any_arguments_are_sent(args: list[Any]) -> None:
    """Surrogates, infinities and integers of any size: no argument of an error prevents the answer."""
    assert type(sent(RuntimeError(*args))) is RuntimeError


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    raw = msgspec.Raw(msgspec.msgpack.encode(msgspec.msgpack.Ext(data[0] % 20 if data else 0, data[1:])))
    for fault in (
        Fault("ValueError", "x", raw),
        Fault("OSError", "x", attributes=raw),
        Fault("ExceptionGroup", "", raw),
    ):
        assert isinstance(Faults().load(fault), Exception)
    assert isinstance(Faults().read(data), Exception)


def test_names_of_the_language_from_a_peer_are_ignored() -> None:
    """`__notes__` from a peer would break the note that is added here."""
    attributes = msgspec.msgpack.encode({"__notes__": 5, "__class__": "str", "fine": 1})
    fault = Fault("ValueError", "x", msgspec.Raw(b"\x91\xa1x"), msgspec.Raw(attributes), "trace")
    rebuilt = Faults().load(fault)
    assert type(rebuilt) is ValueError
    assert rebuilt.fine == 1  # type: ignore[attr-defined]
    assert rebuilt.__notes__ == ["Remote traceback:\ntrace"]


def test_a_class_is_never_imported() -> None:
    """For any name that arrives, only a class that was registered before is made."""
    for name in ("os.PathLike", "subprocess.CalledProcessError", type_name(OutOfStock), "ValueError.__class__", ""):
        rebuilt = Faults().load(Fault(name, "text"))
        assert type(rebuilt) is RemoteError
        assert rebuilt.type_name == name


@given(st.lists(PIECES), st.dictionaries(st.text(), PIECES))
def test_a_local_caller_gets_the_error_that_a_remote_one_gets(args: list[Any], attributes: dict[str, Any]) -> None:
    """Near is far: class, arguments, attributes and notes."""
    error = OutOfStock("apple", 3)
    error.args = tuple(args)
    vars(error).update({f"a{name}": value for name, value in attributes.items()})
    for registered in ((), (OutOfStock,)):
        near, far = Faults(registered).local(error), sent(error, *registered)
        assert type(near) is type(far)
        assert repr(near.args) == repr(far.args)
        shown = [{name: repr(value) for name, value in vars(e).items() if name != "__notes__"} for e in (near, far)]
        assert shown[0] == shown[1]
        assert [n for n in near.__notes__ if n[:6] != "Remote"] == [n for n in far.__notes__ if n[:6] != "Remote"]


def test_a_local_caller_gets_a_copy_with_traceback_and_cause() -> None:
    """The grain may keep its error object and change it later."""
    faults = Faults([OutOfStock])
    for error in (ValueError("x"), OutOfStock("apple", 3), InconsistentStateError("x"), RemoteError("x", "y", "z")):
        error.__cause__ = KeyError("first")
        received = faults.local(error)
        assert type(received) is type(error)
        assert received is not error
        assert (received.args, received.__cause__) == (error.args, error.__cause__)


def test_a_local_caller_gets_a_remote_error_where_a_remote_one_does() -> None:
    error = OutOfStock("apple", 3)
    received = Faults().local(error)
    assert type(received) is RemoteError
    assert received.__cause__ is error


def test_a_local_caller_gets_the_traceback_of_an_error_that_is_too_large() -> None:
    with pytest.raises(UnicodeDecodeError) as raised:
        (b"a" * 70_000 + b"\xff").decode()
    received = (Faults().local(raised.value), sent(raised.value))
    assert received[0].__cause__ is raised.value
    for each in received:
        assert isinstance(each, RemoteError)
        assert "UnicodeDecodeError" in each.remote_traceback
    assert received[0].__notes__ == received[1].__notes__


@pytest.mark.parametrize("cls", [KeyboardInterrupt, SystemExit, BaseExceptionGroup, CallTimeout])
def test_no_error_is_told_to_be_registered_that_cannot_be(cls: type[BaseException]) -> None:
    error = cls("g", [KeyboardInterrupt()]) if issubclass(cls, BaseExceptionGroup) else cls()
    for received in (sent(error), Faults().local(error)):
        assert isinstance(received, RemoteError)
        assert "errors=" not in "".join(received.__notes__)


@pytest.mark.parametrize(
    "moment",
    [
        dt.datetime(2024, 7, 1, 22, tzinfo=ZoneInfo("America/New_York")),
        dt.datetime(2024, 11, 3, 1, 30, fold=1, tzinfo=ZoneInfo("America/New_York")),
        dt.datetime(2024, 10, 27, 2, 30, fold=1),
        dt.datetime(2024, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=1, seconds=1))),
        dt.time(1, 30, fold=1),
        dt.time(1, 30, tzinfo=ZoneInfo("Europe/Berlin")),
    ],
)
def test_moments_in_errors_keep_zone_and_fold(moment: dt.datetime | dt.time) -> None:
    for received in (sent(KeyError(moment)), Faults().local(KeyError(moment))):
        assert repr(received.args) == repr((moment,))


def test_a_moment_in_an_unknown_zone_keeps_its_offset() -> None:
    """The caller's machine may lack the zone; the error arrives nevertheless."""
    args = msgspec.msgpack.encode([msgspec.msgpack.Ext(DATETIME, b"2024-07-01T22:00:00-04:00[Mars/Base][_fold=1]")])
    received = Faults().load(Fault("KeyError", "x", msgspec.Raw(args)))
    zone = dt.timezone(dt.timedelta(hours=-4))
    assert repr(received.args[0]) == repr(dt.datetime(2024, 7, 1, 22, fold=1, tzinfo=zone))


def test_two_classes_of_one_name_are_refused() -> None:
    """One of them would arrive as the other."""
    twin = type("OutOfStock", (Exception,), {"__module__": OutOfStock.__module__})
    with pytest.raises(ConfigurationError, match="OutOfStock"):
        Faults([OutOfStock, twin])
    Faults([OutOfStock, OutOfStock])


@pytest.mark.parametrize("wrong", [KeyboardInterrupt, OutOfStock("apple", 1), "OutOfStock", int])
def test_only_exception_classes_are_registered(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="errors= must name exception classes, not"):
        Faults([wrong])


def test_a_class_that_is_defined_again_takes_the_place_of_the_old_one() -> None:
    """As in a notebook: for a client. A running silo keeps its own."""
    old, new = (type("OutOfStock", (Exception,), {"__module__": "cell"}) for _ in range(2))
    faults = Faults([old])
    faults.register([new], Clash.KEEP)
    assert type(faults.load(faults.dump(old("none")))) is old
    faults.register([new], Clash.REPLACE)
    assert type(faults.load(faults.dump(old("none")))) is new
    with pytest.raises(ConfigurationError, match=r"two exception classes are named cell\.OutOfStock, .*; rename one"):
        faults.register([old])


def test_a_subclass_is_not_taken_for_its_registered_base() -> None:
    special = type("Special", (OutOfStock,), {})
    assert type(sent(special("a", 1), OutOfStock)) is RemoteError


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x91\x01", b"\x91" * 100_000])
def test_an_error_that_cannot_be_read_becomes_a_remote_error(data: bytes) -> None:
    """A mistake of a foreign peer ends the call at once, not at its time-out."""
    error = Faults().read(data)
    assert isinstance(error, RemoteError)
    assert "cannot be read" in str(error)
