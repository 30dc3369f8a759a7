"""Text from elsewhere brings no control character to a terminal or a log, through any output."""

from __future__ import annotations

import io
import json
import logging
import sys
import unicodedata
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from grange.cli import tables
from grange.cli.cluster_wide import Answers
from grange.cli.commands import main
from grange.cli.doctor import facts as doctor_facts
from grange.cli.find_command import row_facts, rows_table
from grange.cli.json_call import error_facts
from grange.cli.logs import JsonLines, TextLines
from grange.cli.output import Output, Rows
from grange.cli.streams import json_text
from grange.client.questions import Answer
from grange.databases.findings import bad
from grange.errors import RemoteError
from grange.membership.model.member import Member, SiloStatus, View
from grange.observability.log_context import AUDIT
from grange.printable import LOGGERS, PrintableArguments, TextBlock, printable, printable_json
from grange.proto.ids import GrainId, SiloAddress
from grange.proto.inspection import ActivationRow
from grange.proto.management import SiloState
from grange.silo.store_checks import StoreReport
from tests.architecture.sources import PACKAGE
from tests.docs.event_catalogue import kinds

NASTY = "\x1b]0;owned\x07\x1b[2J\x9b31m\x7f\u202egpj\u2066\r\n2026-01-01 ERROR forged\u2028\x85"
TEXTS = st.text(st.one_of(st.characters(), st.sampled_from(NASTY)))
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def is_clean(text: str, layout: str = "\n") -> bool:
    """Whether no character steers a terminal. Line breaks may be the layout of the output."""
    bidi = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    return not any(
        unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") or unicodedata.bidirectional(letter) in bidi
        for letter in text
        if letter not in layout
    )


@given(TEXTS)
def test_a_text_is_one_line_without_control_characters(text: str) -> None:
    assert is_clean(printable(text), layout="")
    assert printable(printable(text)) == printable(text)


def test_an_escape_shows_which_character_it_was() -> None:
    assert printable("a\x1b[2J\n\x9b\u202eé") == r"a\x1b[2J\n\x9b\u202eé"


@given(st.text(st.characters(codec="utf-8")))
def test_json_keeps_its_value(text: str) -> None:
    """Also through the format for people, whose line breaks stay."""
    shown = json_text(msgspec.json.format(msgspec.json.encode({text: [text]})))
    assert is_clean(shown)
    assert json.loads(shown) == {text: [text]}


@given(st.binary())
def test_bytes_that_are_no_json_are_shown_safely(data: bytes) -> None:
    """A result that a foreign silo sends may be any bytes."""
    assert is_clean(json_text(data))


def table_outputs(text: str) -> str:
    """All tables, filled with this text, as `Output` writes them."""
    address = SiloAddress(text, 11111, 1)
    labels, grains = (text,), {text: text}
    member = Member(address, SiloStatus.ACTIVE, NOW, NOW, text, 30000, labels=labels, grains=grains)
    state = SiloState(address, text, 3, 1.5, {text: 2}, 0, table=text, fenced=text)
    row = ActivationRow(GrainId("cart", text), text, 1.0, 1.0, 0, 0, 0.0)
    answers = [Answer(member, state), Answer(member, None, text, ValueError(text))]
    report = StoreReport((text,), text, (bad(text, text, text),))
    doctored = Rows("store", "check")
    for each in doctor_facts([report]):
        doctored.add_texts(each["place"], each["found"])
    parts = (
        tables.silos_table([member]),
        tables.status_table(answers),
        tables.types_table({text: {text: 1}}, View(1, (member,))),
        rows_table([row_facts(text, text, row)]),
        *Answers(tuple(answers)).notes(),
        doctored,
    )
    return captured(Output(as_json=False), [tables.member_facts(member)], *parts)


def captured(output: Output, facts: object, *parts: Rows | str) -> str:
    before, sys.stdout = sys.stdout, io.StringIO()
    try:
        output.show(facts, *parts)
        return sys.stdout.getvalue()
    finally:
        sys.stdout = before


@given(TEXTS)
def test_every_table_is_clean(text: str) -> None:
    assert is_clean(table_outputs(text))


def test_a_key_with_escape_sequences_is_shown_with_escapes() -> None:
    shown = table_outputs("\x1b[2Jann")
    assert "\x1b" not in shown
    assert r"cart/\x1b[2Jann" in shown


def record(name: str, message: str, *args: object, error: BaseException | None = None) -> logging.LogRecord:
    exc_info = None if error is None else (type(error), error, error.__traceback__)
    made = logging.getLogger(name).makeRecord(name, logging.INFO, __file__, 1, message, args, exc_info)
    logging.getLogger(name).filter(made)
    return made


@given(TEXTS)
def test_a_log_line_for_people_is_clean_and_cannot_be_forged(text: str) -> None:
    """Of the library and of the application; only the first line of a record begins at the left."""
    error = RemoteError(text, text, text)
    error.add_note(text)
    for made in (
        record("grange.runtime", "%s: %s", GrainId("cart", text), text, error=error),
        record("shop", text, error=error),
        record("shop", "%s", text),
    ):
        first, *rest = TextLines("%(levelname)s %(message)s").format(made).split("\n")
        assert first.startswith("INFO ")
        assert all(line.startswith("  ") for line in rest)
        assert is_clean("".join((first, *rest)), layout="")


@given(st.text(st.characters(codec="utf-8")))
def test_a_log_line_for_programs_is_clean(text: str) -> None:
    made = record("shop", "%s", text, error=ValueError(text))
    made.__dict__["key"] = text
    line = JsonLines({"cluster": text}).format(made)
    assert is_clean(line, layout="")
    assert json.loads(line)["key"] == text


@given(TEXTS)
def test_the_library_logs_clean_lines_with_any_formatter(text: str) -> None:
    """The application's own formatter, or Python's last resort, shows names, errors and tracebacks of the library."""
    made = record("grange.silo", "grain %s of %r failed: %s", GrainId("cart", text), text, ValueError(text))
    assert is_clean(logging.Formatter("%(message)s").format(made), layout="")
    failed = record("grange.silo", "timer of %s failed", text, error=ValueError(text))
    lines = logging.Formatter("%(message)s").format(failed).split("\n")
    assert is_clean("".join(lines), layout="")
    assert all(line.startswith("  ") for line in lines[1:])


def test_numbers_and_blocks_in_a_message_keep_their_form() -> None:
    assert record("grange.silo", "%d of %.1f s in %s", 3, 1.5, "x").getMessage() == "3 of 1.5 s in x"
    assert record("grange.silo", "stack:\n%s", TextBlock("a\nb\x1b\n")).getMessage() == "stack:\n  a\n  b\\x1b"


def test_every_logger_of_the_library_makes_its_arguments_printable() -> None:
    used = {
        line.split("getLogger(")[1].split(")")[0].strip('"')
        for path in PACKAGE.rglob("*.py")
        for line in path.read_text().splitlines()
        if "= logging.getLogger(" in line
    } - {"grange", 'f"grange.{event.LOGGER}', "AUDIT"}  # AUDIT is grange.audit
    used |= {f"grange.{kind.LOGGER}" for kind in kinds().values()}
    assert used | {AUDIT} == {f"grange.{name}" for name in LOGGERS}
    for name in (*used, AUDIT):
        assert [each for each in logging.getLogger(name).filters if isinstance(each, PrintableArguments)]


@given(TEXTS)
def test_the_facts_of_an_error_become_clean_json(text: str) -> None:
    facts = error_facts(RemoteError(text.encode("utf-8", "replace").decode(), "shop.Sold"))
    assert is_clean(json_text(msgspec.json.encode({"error": facts})))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return tmp_path


@pytest.mark.parametrize(
    "words",
    [
        ("call", f"cart/{NASTY}", "a b"),
        ("call", NASTY, "add"),
        ("call", "cart/ann", "add", NASTY),
        ("call", "cart/ann", "add", "5", NASTY),
        ("status", "--gateway", NASTY),
        ("status", f"--{NASTY}"),
        ("status", "--cluster", NASTY),
        (NASTY,),
        ("run", NASTY),
        ("run", "nasty_1:silo"),
        ("--debug", "run", "nasty_1:silo"),
    ],
)
def test_every_complaint_is_clean(words: tuple[str, ...], folder: Path) -> None:
    (folder / "nasty_1.py").write_text(f"raise ValueError({NASTY!r})")
    result = CliRunner().invoke(main, list(words))
    assert result.exit_code == 2, result.output
    assert is_clean(result.output)
    assert result.output


def test_json_with_line_breaks_stays_laid_out() -> None:
    assert printable_json('{\n  "a": "\x7f"\n}') == '{\n  "a": "\\u007f"\n}'
