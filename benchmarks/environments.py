"""Interpreters and virtual environments: each peer has its own, under every Python that it supports.

They are in `benchmarks/.venvs`, outside version control. A change of their requirements makes them again.
"""

from __future__ import annotations

import hashlib
import importlib.util
import itertools
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.catalog import Contestant
from benchmarks.plan import Variant
from benchmarks.processes import ROOT

FOLDER = ROOT / "benchmarks" / ".venvs"
REQUIREMENTS = ROOT / "benchmarks" / "requirements"
_INSTALL_SECONDS = 600


@dataclass(frozen=True)
class Interpreter:
    """A Python that runs here. `version` is (major, minor)."""

    command: str
    version: tuple[int, int]

    @property
    def name(self) -> str:
        """The version as people write it: `3.13`."""
        return f"{self.version[0]}.{self.version[1]}"


class InstallFailed(Exception):
    """An environment could not be made; the message ends with the error of pip."""


def interpreters() -> list[Interpreter]:
    """Return this Python and, if there is one, the newest of the newer ones."""
    this = Interpreter(sys.executable, (sys.version_info.major, sys.version_info.minor))
    find = [str(ROOT / "scripts" / "find-python"), "newer", this.name]
    command = subprocess.run(find, capture_output=True, text=True, check=False).stdout.strip()
    if not command:
        return [this]
    script = "import sys; print(sys.version_info.major, sys.version_info.minor)"
    major, minor = subprocess.check_output([command, "-c", script], text=True).split()
    return [this, Interpreter(command, (int(major), int(minor)))]


def variants(
    contestants: Sequence[Contestant], pythons: Sequence[Interpreter], log: Callable[[str], None]
) -> tuple[list[Variant], dict[str, str]]:
    """Return each contestant under each Python it runs on, and the reasons of failed installations.

    `log` gets a line for each installation.
    """
    ready: list[Variant] = []
    failed: dict[str, str] = {}
    for contestant, python in itertools.product(contestants, pythons):
        if python.version < contestant.oldest or not _has(contestant.needs):
            continue
        try:
            executable = environment(contestant, python, log)
        except InstallFailed as error:
            failed[f"{contestant.name}@{python.name}"] = str(error)
            continue
        command = (executable, "-m", f"benchmarks.contestants.{contestant.module}", *contestant.arguments)
        ready.append(Variant(contestant, python.name, command))
    return ready, failed


def _has(module: str | None) -> bool:
    return module is None or importlib.util.find_spec(module) is not None


def environment(contestant: Contestant, python: Interpreter, log: Callable[[str], None]) -> str:
    """Return the Python that runs this contestant; make its environment if it is missing or stale.

    Grange and its limits run in the environment of the harness, or, under another Python, in one made from the
    locked requirements of grange's tests, into which this tree is installed as it stands. Raises InstallFailed.
    """
    if contestant.requirement is None and python.command == sys.executable:
        return sys.executable
    if contestant.requirement is None:
        name, made_from = "grange", [ROOT / "requirements" / "test.txt", ROOT / "pyproject.toml"]
    else:
        name, made_from = contestant.requirement, [REQUIREMENTS / f"{contestant.requirement}.txt"]
    folder = FOLDER / f"{name}-{python.name}"
    executable = folder / "bin" / "python"
    stamp = folder / "locked"
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in made_from)).hexdigest()
    if not (stamp.exists() and stamp.read_text() == digest):
        log(f"installing {name} for Python {python.name}")
        _make(python, folder, made_from[0])
        if contestant.requirement is None:
            _run([*_pip(folder), "--no-deps", "--no-build-isolation", "-e", str(ROOT)])
        stamp.write_text(digest)
    return str(executable)


def _make(python: Interpreter, folder: Path, locked: Path) -> None:
    _run([python.command, "-m", "venv", "--clear", str(folder)])
    _run([*_pip(folder), "--require-hashes", "--only-binary", ":all:", "-r", str(locked)])


def _pip(folder: Path) -> list[str]:
    return [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]


def _run(command: Sequence[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=_INSTALL_SECONDS)
    except subprocess.CalledProcessError as error:
        raise InstallFailed(f"{' '.join(command[1:4])} failed: {error.stderr.strip()[-600:]}") from error
    except subprocess.TimeoutExpired:
        raise InstallFailed(f"{' '.join(command[1:4])} took more than {_INSTALL_SECONDS} s") from None
