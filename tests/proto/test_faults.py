"""Errors to wire form and back: which are rebuilt, which stay remote, and that every error is sent."""

from __future__ import annotations

import asyncio
import builtins
from typing import Any

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
from grange.proto.faults import Fault, Faults, type_name

BIGGEST = 256 * 1024
"""Largest bytes of any fault: far below the payload limit, so an answer never fails because of its error."""


class OutOfStock(Exception):
    def __init__(self, sku: str, left: int) -> None:
        super().__init__(f"{sku}: {left} left")
        self.sku = sku
        self.left = left
        self.place = object()
        self._secret = "kept here"


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
    """Even if the constructor takes other arguments than it passes on. Attributes that are not plain are dropped."""
    rebuilt = sent(OutOfStock("apple", 3), OutOfStock)
    assert isinstance(rebuilt, OutOfStock)
    assert (str(rebuilt), rebuilt.sku, rebuilt.left) == ("apple: 3 left", "apple", 3)
    assert not hasattr(rebuilt, "place")
    assert not hasattr(rebuilt, "_secret")


def test_an_error_that_cannot_be_made_from_its_arguments_stays_remote() -> None:
    rebuilt = sent(Picky(1, 2), Picky)
    assert isinstance(rebuilt, RemoteError)
    assert rebuilt.type_name.endswith(".Picky")


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


def test_groups_are_told_with_all_they_hold() -> None:
    group = ExceptionGroup("both", [ValueError("left"), KeyError("right")])
    rebuilt = sent(group)
    assert isinstance(rebuilt, RemoteError)
    assert rebuilt.type_name == "ExceptionGroup"
    assert "left" in rebuilt.remote_traceback
    assert "right" in rebuilt.remote_traceback


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


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, "lone \ud800", ["list"], object()])
def test_arguments_that_cannot_be_written_become_the_message(value: object) -> None:
    """`raise ValueError(2 ** 70)` must reach the caller as a ValueError, not as a time-out."""
    rebuilt = sent(ValueError(value))
    assert type(rebuilt) is ValueError
    assert len(rebuilt.args) == 1
    assert isinstance(rebuilt.args[0], str)


def test_attributes_that_cannot_be_written_stay_behind() -> None:
    error = OutOfStock("apple", 2**70)
    rebuilt = sent(error, OutOfStock)
    assert isinstance(rebuilt, OutOfStock)
    assert rebuilt.sku == "apple"
    assert not hasattr(rebuilt, "left")


PIECES = st.one_of(
    st.text(), st.integers(), st.floats(), st.binary(), st.none(), st.booleans(), st.complex_numbers()
)  # fmt: skip


@given(st.lists(PIECES))
def test_any_arguments_are_sent(args: list[Any]) -> None:
    """Surrogates, infinities and integers of any size: no argument of an error prevents the answer."""
    assert type(sent(RuntimeError(*args))) is RuntimeError


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    try:
        fault = msgspec.msgpack.decode(data, type=Fault)
    except ValueError:
        return
    assert isinstance(Faults().load(fault), Exception)


def test_private_attributes_from_a_peer_are_ignored() -> None:
    """`__notes__` from a peer would break the note that is added here."""
    fault = Fault("ValueError", "x", ["x"], {"__notes__": 5, "__class__": "str", "fine": 1}, "trace")
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


def test_a_local_caller_gets_the_object_itself_where_a_remote_one_gets_its_class() -> None:
    faults = Faults([OutOfStock])
    for error in (ValueError("x"), OutOfStock("apple", 3), InconsistentStateError("x"), RemoteError("x", "y", "z")):
        assert faults.local(error) is error


def test_a_local_caller_gets_a_remote_error_where_a_remote_one_does() -> None:
    error = OutOfStock("apple", 3)
    received = Faults().local(error)
    assert type(received) is RemoteError
    assert received.__cause__ is error


def test_two_classes_of_one_name_are_refused() -> None:
    """One of them would arrive as the other."""
    twin = type("OutOfStock", (Exception,), {"__module__": OutOfStock.__module__})
    with pytest.raises(ConfigurationError, match="OutOfStock"):
        Faults([OutOfStock, twin])
    Faults([OutOfStock, OutOfStock])


def test_a_subclass_is_not_taken_for_its_registered_base() -> None:
    special = type("Special", (OutOfStock,), {})
    assert type(sent(special("a", 1), OutOfStock)) is RemoteError


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x91\x01", b"\x91" * 100_000])
def test_an_error_that_cannot_be_read_becomes_a_remote_error(data: bytes) -> None:
    """A mistake of a foreign peer ends the call at once, not at its time-out."""
    error = Faults().read(data)
    assert isinstance(error, RemoteError)
    assert "cannot be read" in str(error)
