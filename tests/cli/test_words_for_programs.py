"""The command line's contract with programs: log lines, exit codes, arguments, outcomes, JSON keys."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grange import Grain
from grange.cli.exit_codes import exit_code
from grange.cli.json_call import arguments_from, error_facts, grain_id_from, outcome_of
from grange.cli.logs import JsonLines
from grange.cli.tables import duration, state_facts
from grange.client.questions import Answer
from grange.errors import (
    CallCancelled,
    CallTimeout,
    ConfigurationError,
    ConnectionLost,
    DeclaredDead,
    HandshakeRefused,
    InvalidCall,
    InvalidResult,
    JoinFailed,
    MembershipUnavailable,
    NoSuchGrain,
    Overloaded,
    RemoteError,
    ServicesUnavailable,
    SiloUnavailable,
    StorageError,
    StorageUnavailable,
    TableLost,
)
from grange.grains.ref import grain_id_of
from grange.membership.model.member import Member, SiloStatus
from grange.proto.faults import Faults
from grange.proto.ids import GrainId, SiloAddress
from grange.proto.management import SiloState
from grange.testing import TestCluster


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigurationError("x"), 2),
        (JoinFailed("x"), 3),
        (DeclaredDead("x"), 4),
        (MembershipUnavailable("x"), 6),
        (TableLost("x"), 6),
        (StorageError("x"), 6),
        (StorageUnavailable("x"), 6),
        (ServicesUnavailable("x"), 6),
        (SiloUnavailable("x"), 1),
        (HandshakeRefused("x"), 1),
        (KeyError("x"), 70),
    ],
)
def test_every_kind_of_error_has_its_exit_code(error: Exception, code: int) -> None:
    assert exit_code(error) == code


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (NoSuchGrain("x"), "not executed"),
        (Overloaded("x"), "not executed"),
        (InvalidCall("x"), "not executed"),
        (HandshakeRefused("x"), "not executed"),
        (CallTimeout("x"), "outcome unknown"),
        (ConnectionLost("x"), "outcome unknown"),
        (InvalidResult("x"), "executed"),
        (CallCancelled("x"), "executed"),
        (RemoteError("x"), "executed"),
        (Faults().load(Faults().dump(StorageUnavailable("x"))), "executed"),
        (Faults().load(Faults().dump(ValueError("x"))), "executed"),
        (UnicodeEncodeError("utf-8", "x", 0, 1, "of this process, not of a silo"), "outcome unknown"),
    ],
)
def test_an_error_says_whether_the_call_ran(error: Exception, outcome: str) -> None:
    assert outcome_of(error) == outcome


def test_a_remote_error_goes_by_its_own_name() -> None:
    assert error_facts(RemoteError("sold out", "shop.SoldOut", "...")) == {
        "type": "shop.SoldOut",
        "message": "sold out",
        "outcome": "executed",
    }


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        (None, b"[]"),
        ("  ", b"[]"),
        ('["apple", 2]', b'["apple", 2]'),
        ('{"sku": "apple"}', b'{"sku": "apple"}'),
        ('"apple"', b'["apple"]'),
        ("7", b"[7]"),
        (" -5", b"[-5]"),
        ("12345678901234567890123", b"[12345678901234567890123]"),
        ("null", b"[null]"),
    ],
)
def test_an_array_is_positional_an_object_by_name_all_else_one_argument(text: str | None, sent: bytes) -> None:
    assert arguments_from(text) == sent


def test_a_text_without_quotes_is_shown_with_them() -> None:
    with pytest.raises(ConfigurationError, match="a text needs quotes of its own: '\"apple\"'"):
        arguments_from("apple")


def test_arguments_are_sent_as_they_are() -> None:
    """No number is rounded on its way through this process, and no text changed."""
    for text in ("12345678901234567890123", "0.1000000000000000055", "-0.0", '{"a": 1, "a": 2}'):
        sent = arguments_from(f" {text}\n")
        assert sent == (text.encode() if text[0] == "{" else b"[" + text.encode() + b"]")


@given(st.from_regex(r"[a-z][a-z0-9_.]{0,20}", fullmatch=True), st.text(min_size=1).filter(str.strip))
def test_a_grain_goes_by_its_type_and_key(grain_type: str, key: str) -> None:
    assert grain_id_from(f"{grain_type}/{key}") == GrainId(grain_type, key)


@pytest.mark.parametrize("text", ["", "cart", "/", "cart/", "/ann", " /ann", "cart/ "])
def test_a_text_without_type_or_key_names_no_grain(text: str) -> None:
    with pytest.raises(ConfigurationError, match="write TYPE/KEY"):
        grain_id_from(text)


def record(message: str, *args: object, **extra: object) -> logging.LogRecord:
    return logging.getLogger("shop").makeRecord("shop", logging.INFO, __file__, 1, message, args, None, extra=extra)


def test_a_log_line_is_one_json_object() -> None:
    line = JsonLines({"cluster": "orange", "silo": ""}).format(record("%s left\nus", "ann", event="left", age=3))
    assert "\n" not in line
    facts = json.loads(line)
    assert facts.pop("ts").endswith("+00:00")
    assert facts == {
        "level": "info",
        "logger": "shop",
        "msg": "ann left\nus",
        "cluster": "orange",
        "event": "left",
        "age": 3,
    }


def test_a_logged_error_keeps_its_traceback() -> None:
    line = record("failed")
    try:
        raise LookupError("no apple")
    except LookupError:
        line.exc_info = sys.exc_info()
    error = json.loads(JsonLines({}).format(line))["err"]
    assert (error["type"], error["msg"]) == ("LookupError", "no apple")
    assert "Traceback" in error["stack"]


@pytest.mark.parametrize("value", [object(), {object(): 1}, {1, 2}, b"\xff", float("nan"), 1 << 80])
def test_every_value_that_an_application_logs_becomes_a_line(value: object) -> None:
    assert json.loads(JsonLines({}).format(record("odd", value=value)))["msg"] == "odd"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0s"), (59.9, "59s"), (60, "1m00s"), (185, "3m05s"), (7380, "2h03m"), (86400 * 5 + 7 * 3600, "5d07h")],
)
def test_a_duration_has_two_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_the_status_for_programs_has_every_field_of_the_state() -> None:
    """The runbooks refer to these keys."""
    address, now = SiloAddress("10.0.0.5", 11111, 1), datetime(2026, 1, 1, tzinfo=UTC)
    state = SiloState(address, "one", 3, 1.5, {"cart": 2}, 0, score=4, withheld=1)

    facts = state_facts(Answer(Member(address, SiloStatus.ACTIVE, now, now, "one"), state))

    assert facts.keys() >= set(SiloState.__struct_fields__)
    assert (facts["score"], facts["withheld"], facts["ready"]) == (4, 1, True)


async def test_an_error_of_the_activation_says_that_the_call_did_not_run() -> None:
    """The error comes as itself; a method that gets it from another grain and passes it on was executed."""

    class Broken(Grain, name="broken"):
        async def on_activate(self) -> None:
            raise LookupError("no shelf")

        async def work(self) -> None:
            """Never runs."""

    class Passing(Grain, name="passing"):
        async def work(self) -> None:
            await self.get_grain(Broken, "a").work()

    async with TestCluster([Broken, Passing]) as cluster:
        for grain, outcome in ((Broken, "not executed"), (Passing, "executed")):
            with pytest.raises(LookupError, match="no shelf") as failed:
                await cluster.get_grain(grain, "a").work()
            assert outcome_of(failed.value, grain_id_of(cluster.get_grain(grain, "a"))) == outcome
