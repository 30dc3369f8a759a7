"""Each exercise of the lecture runs as its page says, and prints what it shows."""

from __future__ import annotations

import importlib
import re
from typing import Any

import pytest

from grange.cli.silo_import import named_silo
from tests.architecture.sources import ROOT

FOLDER = ROOT / "examples" / "lecture"
PAGE = ROOT / "docs" / "lecture.md"

EXERCISES = sorted(path for path in FOLDER.glob("*.py") if path.name[0].isdigit())


def exercise(name: str) -> Any:
    """The module of one exercise: its name begins with a digit, so no statement can import it."""
    return importlib.import_module(f"examples.lecture.{name}")


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        (
            "01_message_passing",
            ["red was number 1", "green was number 2", "blue was number 3", "square was number 1"],
        ),
        (
            "02_async_await",
            [
                "one after another: 1.00 s",
                "all at once, 100 grains: 0.01 s",
                "all at once, one grain: 1.00 s, because a grain does one thing at a time",
            ],
        ),
        (
            "04_channel",
            [
                "three pages are handed over after 0.0 s",
                "all 23 pages are printed after 23 s; the queue was full: True",
            ],
        ),
        (
            "06_outbox",
            [
                "one: 1, sold pear", "two: 2, sold plum", "two crashes before it acknowledges 2",
                "one: 3, sold fig", "one: 4, sold date", "one: 2, sold plum, was noted before",
                "['sold date', 'sold fig', 'sold pear', 'sold plum']",
            ],
        ),
        (
            "10_lock",
            [
                "ann has the lock, with token 1", "bob has the lock, with token 2", "bob has written",
                "ann is refused: token 1, but 2 was here", "with the token: [bob] ", "without it: [ann] ",
            ],
        ),
        (
            "20_request_context",
            [
                "['ann changed plan', 'ann changed budget']",
                "refused: a user with the role reader may not change plan",
                "outside, the context has: {}",
            ],
        ),
        (
            "20_identity",
            [
                "['user:ann via grain:folder changed plan', 'user:ann via grain:folder changed budget']",
                "refused: user:bob via grain:folder may not change plan",
            ],
        ),
        (
            "23_three_levels_of_tests",
            [
                "test_the_class_alone: passed", "test_with_a_fake_service: passed",
                "test_in_a_cluster_whose_silo_dies: passed",
            ],
        ),
    ],
)  # fmt: skip
async def test_an_exercise_prints_what_it_shows(
    name: str, lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    await exercise(name).main()
    assert capsys.readouterr().out.splitlines() == lines


async def test_a_service_fails_and_is_back(capsys: pytest.CaptureFixture[str]) -> None:
    await exercise("05_two_services").main()
    first, failed, again = capsys.readouterr().out.splitlines()
    assert first == "ordered 1 of pears"
    assert failed == "not known whether it is reserved: ConnectionLost, 0.0 s after the crash"
    back = re.fullmatch(r"ordered 1 of \w+, (\d+) s after the crash", again)
    assert back is not None
    assert int(back[1]) <= 10, "as docs/promises.md says"


async def test_state_survives_the_death_of_its_silo(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    await exercise("15_persistence").main(f"sqlite:///{tmp_path}/state.db")
    assert capsys.readouterr().out.splitlines() == ["3 stored, 3 in memory only", "3 stored, 0 in memory only"]


@pytest.mark.servers
async def test_state_survives_in_postgres(postgres_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    await exercise("15_persistence").main(postgres_url)
    assert capsys.readouterr().out.splitlines()[1] == "3 stored, 0 in memory only"


@pytest.mark.servers
async def test_a_password_changes_while_a_silo_runs(
    tmp_path: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """S9: by a real OpenBao and a real Redis."""
    monkeypatch.setattr("grange.databases.credentials.LOOK_PERIOD", 0.2)
    await exercise("19_secrets").main(tmp_path)
    assert capsys.readouterr().out.splitlines() == [
        "counted 1", "counted 2 with the new password, and without a restart",
    ]  # fmt: skip


async def test_the_client_knows_the_contract_only(capsys: pytest.CaptureFixture[str]) -> None:
    silo = exercise("13_silo").silo
    await silo.start(port=0, gateway_port=0, membership="memory://", storage="memory://")
    try:
        await exercise("13_client").main([silo.gateway])
    finally:
        await silo.stop()
    assert capsys.readouterr().out.splitlines() == [
        "Hello Ann, you are number 1 of the door", "Hello Bob, you are number 2 of the door",
    ]  # fmt: skip
    assert "13_silo" not in (FOLDER / "13_client.py").read_text().partition('"""\n\nfrom')[2]


def test_the_silo_of_the_page_can_be_named() -> None:
    """`grange run` takes the names that `python -m` takes."""
    (name,) = re.findall(r"^grange run (\S+)", PAGE.read_text(), re.MULTILINE)
    assert named_silo(name) is exercise("13_silo").silo


@pytest.mark.parametrize("path", EXERCISES, ids=lambda path: path.stem)
def test_an_exercise_is_short_and_on_the_page(path: Any) -> None:
    assert len(path.read_text().splitlines()) <= 80
    assert f"(../examples/lecture/{path.name})" in PAGE.read_text()
