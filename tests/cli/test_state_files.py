"""`grange state show`, `export` and `import`: states of a store without a silo, whole and exact."""

from __future__ import annotations

import asyncio
import json
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from grange.cli.commands import main
from grange.cli.exit_codes import ExitCode
from grange.proto.ids import GrainId
from grange.storage.urls import open_storage

EXACT = b'{"z": 1, "a": 1e16,\n "m": -0.0, "t": "\\u0007 \xc3\xa4"}'
"""A payload whose numbers and order other programs change; a line break and control characters inside."""

ANN = GrainId("cart", "ann")


@pytest.fixture(autouse=True)
def _an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
async def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/state.db"
    async with open_storage(url, "default") as storage:
        etag = await storage.write(ANN, "basket", EXACT, None, schema=3)
        await storage.write(ANN, "basket", EXACT, etag, schema=3)
        await storage.write(ANN, "address", b'"Rome"', None)
        await storage.write(GrainId("cart", "anna"), "basket", b"[]", None)
        await storage.write(GrainId("user", "ann"), "profile", b"{}", None)
        await storage.clear(
            GrainId("cart", "old"), "basket", await storage.write(GrainId("cart", "old"), "basket", b"1", None)
        )
    return url


async def run(*arguments: str) -> Result:
    """Run the command outside of this test's event loop."""
    return await asyncio.to_thread(CliRunner().invoke, main, ["state", *arguments])


async def test_the_states_of_one_grain_are_shown(url: str) -> None:
    """Of no other grain whose key begins so; in full, and printable."""
    shown = await run("show", "cart/ann", "--storage", url)
    assert shown.exit_code == 0, shown.output
    assert "basket: etag 2, version 3" in shown.output
    assert '"a": 1e16,\n  "m": -0.0' in shown.output
    assert "\x07" not in shown.output
    assert "anna" not in shown.output
    one = await run("show", "cart/ann", "address", "--storage", url, "--json")
    assert json.loads(one.output) == [
        {"type": "cart", "key": "ann", "state": "address", "payload": "Rome", "schema": 1, "etag": "1"}
    ]


async def test_a_grain_without_a_state_fails(url: str) -> None:
    missing = await run("show", "cart/joe", "--storage", url)
    assert missing.exit_code == ExitCode.FAILED
    assert "cart/joe has no stored state" in missing.output


async def test_an_export_is_imported_as_it_was(url: str, tmp_path: Path) -> None:
    """Order, numbers, version and every text. The etag begins anew, and what was cleared is not there."""
    exported = await run("export", "cart", "user", "--storage", url, "-o", "states.jsonl")
    assert exported.exit_code == 0, exported.output
    assert "4 states exported" in exported.output
    file = tmp_path / "states.jsonl"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [json.loads(line)["key"] for line in file.read_text().splitlines()] == ["ann", "ann", "anna", "ann"]
    other = f"sqlite:///{tmp_path}/other.db"
    async with open_storage(other, "default"):
        pass
    imported = await run("import", "states.jsonl", "--storage", other)
    assert imported.exit_code == 0, imported.output
    assert "4 states imported" in imported.output
    async with open_storage(other, "default") as storage:
        record = await storage.read(ANN, "basket")
        assert record.payload == EXACT.replace(b": ", b":").replace(b", ", b",").replace(b",\n ", b",")
        assert (record.schema, record.etag) == (3, "1")
        assert (await storage.read(GrainId("cart", "old"), "basket")).payload is None


async def test_an_import_replaces_nothing_unless_it_is_told(url: str) -> None:
    """Also none of the states that are not stored yet: whole or not at all."""
    await run("export", "cart", "--storage", url, "-o", "states.jsonl")
    async with open_storage(url, "default") as storage:
        await storage.write(ANN, "address", b'"Oslo"', "1")
        await storage.clear(ANN, "basket", "2")
    refused = await run("import", "states.jsonl", "--storage", url)
    assert refused.exit_code == ExitCode.USAGE
    assert "nothing was imported" in refused.output
    assert "--overwrite" in refused.output
    async with open_storage(url, "default") as storage:
        assert (await storage.read(ANN, "basket")).payload is None
        assert (await storage.read(ANN, "address")).payload == b'"Oslo"'
    assert (await run("import", "states.jsonl", "--storage", url, "--overwrite")).exit_code == 0
    async with open_storage(url, "default") as storage:
        assert (await storage.read(ANN, "address")).payload == b'"Rome"'
        assert (await storage.read(ANN, "basket")).etag == "4"


async def test_an_export_to_standard_output_is_lines(url: str) -> None:
    exported = await asyncio.to_thread(CliRunner().invoke, main, ["state", "export", "cart", "--storage", url])
    lines = [json.loads(line) for line in exported.stdout.splitlines()]
    assert [(line["key"], line["state"]) for line in lines] == [
        ("ann", "address"),
        ("ann", "basket"),
        ("anna", "basket"),
    ]
    assert lines[1]["payload"]["t"] == "\x07 ä"


async def test_more_than_one_page_is_exported(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/many.db"
    async with open_storage(url, "default") as storage:
        for number in range(0, 1100, 100):
            await asyncio.gather(
                *(storage.write(GrainId("cart", f"{each:04}"), "s", b"1", None) for each in range(number, number + 100))
            )
    assert "1,100 states exported" in (await run("export", "cart", "--storage", url, "-o", "many.jsonl")).output


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("export", "--storage", "memory://"), "name the TYPEs"),
        (("export", "cart", "--provider", "orders"), "there is no storage 'orders'; there are default"),
        (("export", "cart", "--provider", "orders", "--storage", "memory://"), "leave out --provider"),
        (
            ("show", "cart/ann"),
            "`grange migrate`, which takes the same --storage",
        ),
        (("import", "wrong.jsonl", "--storage", "memory://"), "line 2 is no exported state"),
    ],
)
async def test_mistakes_are_named(arguments: tuple[str, ...], text: str, tmp_path: Path) -> None:
    (tmp_path / "wrong.jsonl").write_text('\n{"type": "cart"}\n')
    refused = await run(*arguments)
    assert refused.exit_code == ExitCode.USAGE, refused.output
    assert text in " ".join(refused.output.split())
    assert not (tmp_path / ".grange").exists()


async def test_a_failed_export_leaves_no_file_and_an_existing_one_alone(url: str, tmp_path: Path) -> None:
    (tmp_path / "there").write_text("mine")
    assert (await run("export", "cart", "--storage", url, "-o", "there")).exit_code == ExitCode.USAGE
    assert (tmp_path / "there").read_text() == "mine"
    gone = await run("export", "cart", "--storage", "postgresql://127.0.0.1:1/shop", "-o", "new")
    assert gone.exit_code != 0
    assert not (tmp_path / "new").exists()
