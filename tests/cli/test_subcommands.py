"""The start of `grange`: each subcommand is imported when it runs, and no web framework ever."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from grange.cli.commands import SUBCOMMANDS, main
from tests.architecture.sources import ROOT

HEAVY = {"grpc", "google", "pydantic", "pydantic_settings", "rich", "svcs", "attr", "aiosqlite", "redis", "asyncpg"}
FRAMEWORKS = ("aiohttp", "fastapi", "flask", "pyramid", "starlette")


def python(code: str, *folders: Path, **environment: str) -> str:
    paths = os.pathsep.join(map(str, (*folders, ROOT)))
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GRANGE_")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**inherited, "PYTHONPATH": paths, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", sorted(SUBCOMMANDS))
def test_the_list_of_subcommands_has_the_first_sentence_of_their_help(name: str) -> None:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    assert command.name == name
    assert (command.help or "").replace("\n", " ").startswith(SUBCOMMANDS[name][1])


def test_the_help_imports_nothing_heavy() -> None:
    """What it imports decides how long it takes; a clock would measure the machine."""
    code = (
        "import sys; from grange.__main__ import main\n"
        "try: main(['--help'], prog_name='grange')\n"
        "except SystemExit: print(*{name.partition('.')[0] for name in sys.modules})"
    )
    *lines, modules = python(code).splitlines()
    assert any(line.split()[:1] == ["completion"] for line in lines)
    assert HEAVY & set(modules.split()) == set()


def test_no_web_framework_is_imported(tmp_path: Path) -> None:
    """svcs imports those that are installed. Here they are installed, and break at the import."""
    for name in FRAMEWORKS:
        (tmp_path / f"{name}.py").write_text(f"raise RuntimeError('{name} was imported')")
    (tmp_path / "shop.py").write_text(
        "from grange import Grain\nfrom grange.silo import Silo\n"
        "class Cart(Grain):\n    async def add(self) -> int: return 1\n"
        "silo = Silo(grains=[Cart])\n"
    )
    code = "import sys, shop, grange.testing, grange.client\nfrom importlib import import_module\n" + "".join(
        f"import_module('grange.cli.{module}')\n" for module, _ in SUBCOMMANDS.values()
    )
    code += "shop.silo.definition()\nprint(*sys.modules)"
    imported = set(python(code, tmp_path).split())
    assert imported.isdisjoint(FRAMEWORKS)
    assert "svcs._core" in imported


def test_an_application_that_imports_svcs_gets_the_whole_with_the_same_classes() -> None:
    code = (
        "import grange.silo, svcs\nfrom grange.grains.registry import Container, Registry\n"
        "assert svcs.Registry is Registry and svcs.Container is Container\n"
        "assert svcs.exceptions.ServiceNotFoundError and svcs.autowire"
    )
    python(code)
    python(code.replace("import grange.silo, svcs", "import svcs, grange.silo"))


def test_an_unknown_subcommand_is_named() -> None:
    result = CliRunner().invoke(main, ["fly"])
    assert result.exit_code == 2
    assert "No such command 'fly'" in result.stderr


def test_an_interrupt_has_an_exit_code_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("grange.cli.remote.RemoteCluster.ask", interrupted)
    status = CliRunner().invoke(main, ["status"])
    assert (status.exit_code, status.stderr) == (130, "error: interrupted\n")
    call = CliRunner().invoke(main, ["call", "cart/ann", "add"])
    assert (call.exit_code, call.stderr) == (130, "error: Interrupted (not executed): by Ctrl-C\n")
