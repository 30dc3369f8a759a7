"""The first command on a fresh machine works: `scripts/find-python` finds a Python, and CI runs the same targets."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT

TARGETS = (
    "help",
    "demo",
    "test",
    "test-servers",
    "test-browser",
    "check",
    "bench",
    "bench-guard",
    "profile",
    "faults",
    "dev",
    "lock",
    "clean",
)
BROKEN = "#!/bin/sh\necho 'command not found' >&2\nexit 127\n"
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


def shell(*command: str, path: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": path, "HOME": "/nonexistent"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def programs(folder: Path, **scripts: str) -> str:
    """A PATH with only the shell and these Python commands."""
    (folder / "sh").symlink_to(shutil.which("sh") or "sh")
    for name, script in scripts.items():
        command = folder / name.replace("_", ".")
        command.write_text(script)
        command.chmod(0o755)
    return str(folder)


def working(version: str = VERSION) -> str:
    """A Python that reports this version."""
    pretend = f"import sys; sys.version_info = ({version.replace('.', ', ')}, 0); exec(sys.argv[1])"
    return f'#!/bin/sh\nshift\nexec "{sys.executable}" -c "{pretend}" "$@"\n'


def test_a_shim_that_does_not_run_is_skipped(tmp_path: Path) -> None:
    path = programs(tmp_path, python3=BROKEN, python3_11=BROKEN, python3_12=working("3.12"))
    result = shell("scripts/find-python", path=path)
    assert (result.returncode, result.stdout.strip()) == (0, "python3.12")


def test_a_python_that_is_too_old_is_skipped(tmp_path: Path) -> None:
    path = programs(tmp_path, python3=working("3.9"), python3_11=working("3.11"))
    assert shell("scripts/find-python", path=path).stdout.strip() == "python3.11"


def test_no_python_is_an_error_that_names_the_version(tmp_path: Path) -> None:
    result = shell("scripts/find-python", path=programs(tmp_path, python3=BROKEN))
    assert result.returncode == 1
    assert "Python 3.11 or newer" in result.stderr


def test_the_newest_other_python_must_run_and_be_newer(tmp_path: Path) -> None:
    path = programs(tmp_path, python3_14=BROKEN, python3_13=working("3.13"), python3_12=working("3.12"))
    assert shell("scripts/find-python", "newer", "3.11", path=path).stdout.strip() == "python3.13"
    assert shell("scripts/find-python", "newer", "3.13", path=path).stdout.strip() == ""


@pytest.mark.parametrize("target", TARGETS)
def test_every_promised_target_exists(target: str) -> None:
    result = shell("make", "--dry-run", target, path=os.environ["PATH"])
    assert result.returncode == 0, result.stderr


def test_ci_runs_make_test() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    commands = [line for line in script.read_text().splitlines() if line and not line.startswith("#")]
    assert commands[0] == "set -euo pipefail"
    assert commands[-1] == "exec make test"
