"""`grange audit`: rows of the silos and of the table, by filters and pages."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from grange.audit.provider import Origin
from grange.audit.urls import open_audit
from grange.cli.commands import main
from grange.cli.exit_codes import ExitCode
from grange.proto.acts import CALL_ROW, DENIAL_ROW, Act, Action, AuditRow, Level
from tests.cli.test_acts_from_a_shell import beside_a_silo

ROW = AuditRow(1, 1_764_000_000.0, "user:ann", Level.NONE, "cart/pay", "cart/a", "", "begun", "", CALL_ROW, "web")


@pytest.fixture(autouse=True)
def _an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


async def audit(*words: str) -> Result:
    """Run the command without a silo, outside of this test's event loop."""
    return await asyncio.to_thread(CliRunner().invoke, main, ["audit", *words])


async def filled(url: str) -> None:
    async with open_audit(url, Origin("default", "one@1")) as table:
        rows = [msgspec.structs.replace(ROW, number=number, time=ROW.time + 60 * number) for number in range(1, 6)]
        rows[2] = msgspec.structs.replace(rows[2], kind=DENIAL_ROW, actor="user:bob", reason="no\nrule", begun=1)
        await table.append(rows)


async def test_rows_of_the_silos_are_chosen_by_filters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with beside_a_silo(tmp_path, monkeypatch) as shell:
        trail = shell.silo.control.audit
        trail.write(Act(Action.DRAIN, "silo-1", reason="a roll"), "ops", Level.OPERATOR, "done", "it drains")
        trail.add(ROW)

        async def found(*words: str) -> list[str]:
            return [row["action"] for row in (await shell.json("audit", *words))["rows"]]

        assert await found() == ["drain", "cart/pay"]
        assert await found("--kind", "call") == ["cart/pay"]
        assert await found("--who", "ops") == ["drain"]
        assert await found("--who", "web") == ["cart/pay"]
        assert await found("--what", "silo-1") == ["drain"]
        assert await found("--since", "2999-01-01") == []
        assert await found("--limit", "1") == ["cart/pay"]
        assert (await shell("audit", "--who", "no-such-caller")).stdout.strip() == "no such row yet"
        assert (await shell("audit", "--before", "7")).exit_code == ExitCode.USAGE
        assert "has no effect without --table" in (await shell("audit", "--url", "sqlite:///x")).output


async def test_the_table_is_read_page_by_page(tmp_path: Path) -> None:
    """No silo runs: the rows outlast them."""
    url = f"sqlite:///{tmp_path}/audit.db"
    await filled(url)
    first = json.loads((await audit("--table", "--url", url, "--limit", "3", "--json")).stdout)
    assert [row["number"] for row in first["rows"]] == [3, 4, 5]
    rest = json.loads(
        (await audit("--table", "--url", url, "--limit", "3", "--before", str(first["before"]), "--json")).stdout
    )
    assert ([row["number"] for row in rest["rows"]], rest["before"]) == ([1, 2], None)
    shown = await audit("--table", "--url", url, "--limit", "2")
    assert f"older rows: --before {first['rows'][1]['id']}" in shown.stdout
    denials = await audit("--table", "--url", url, "--kind", "denial")
    assert "user:bob" in denials.stdout
    assert "no\\nrule" in denials.stdout
    assert "no such row" in (await audit("--table", "--url", url, "--since", "2999-01-01T10:00")).stdout


async def test_the_option_audit_names_the_table(tmp_path: Path) -> None:
    await filled("sqlite:///audit.db")
    (tmp_path / "grange.toml").write_text('audit = "sqlite:///audit.db"\n')
    rows = json.loads((await audit("--table", "--who", "bob", "--json")).stdout)["rows"]
    assert [(row["actor"], row["kind"], row["begun"]) for row in rows] == [("user:bob", "denial", 1)]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((), "no option audit is set here; name the database by --url"),
        (("--url", "redis://host"), "Redis is not offered for the audit"),
        (("--url", "sqlite:///nothing.db"), "there is no table grange_audit at"),
        (("--silo", "silo-1"), "--silo has no effect with --table"),
        (("--since", "yesterday"), "is no time such as 2026-11-29"),
    ],
)
async def test_mistakes_are_named(words: tuple[str, ...], text: str, tmp_path: Path) -> None:
    result = await audit("--table", *words)
    assert (result.exit_code, text in result.output) == (ExitCode.USAGE, True), result.output
    assert not (tmp_path / "nothing.db").exists()
