"""S12: a lock without hashes, with an address, or with a version that is known to be vulnerable fails `make check`."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.version import Version

from scripts.check_locks import findings, floors, install_findings, lock_findings, pins, project_findings
from tests.architecture.sources import ROOT

FLOORS = floors(ROOT / "requirements" / "floors.toml")
HASH = f"--hash=sha256:{'0' * 64}"
GOOD = f"grpcio==1.85.1 \\\n    {HASH} \\\n    {HASH}\nsix==1.17 ; sys_platform == 'win32' \\\n    {HASH}\n"


def found_in(lock: str) -> list[str]:
    return list(lock_findings("a.txt", lock, FLOORS))


def copy(folder: Path) -> Path:
    """What the check reads, copied."""
    for name in ("requirements", "benchmarks/requirements", "scripts"):
        shutil.copytree(ROOT / name, folder / name)
    for name in ("pyproject.toml", "Makefile", "Dockerfile"):
        shutil.copy(ROOT / name, folder)
    return folder


def check(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "scripts.check_locks"]
    return subprocess.run(command, cwd=folder, env={}, capture_output=True, text=True, check=False)


def test_our_locks_have_no_findings() -> None:
    assert findings() == []


def test_a_planted_vulnerable_version_fails_the_check(tmp_path: Path) -> None:
    """The program itself, as `make check` runs it, on a copy whose runtime lock has an old grpcio."""
    folder = copy(tmp_path)
    assert check(folder).returncode == 0
    lock = folder / "requirements" / "runtime.txt"
    version = pins(lock.read_text())["grpcio"]
    lock.write_text(lock.read_text().replace(f"grpcio=={version}", "grpcio==1.62.0"))
    failed = check(folder)
    assert failed.returncode == 1
    assert "grpcio 1.62.0 is vulnerable (" in failed.stderr
    assert "CVE-2024-7246" in failed.stderr


def test_make_check_and_ci_run_it() -> None:
    recipe = subprocess.run(
        ["make", "--dry-run", "check"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout  # fmt: skip
    assert "-m scripts.check_locks" in recipe
    assert "make test" in (ROOT / ".ci" / "run").read_text()
    assert "\ntest: check " in (ROOT / "Makefile").read_text()


def test_a_good_lock_has_no_findings() -> None:
    assert found_in(GOOD) == []
    assert pins(GOOD) == {"grpcio": Version("1.85.1"), "six": Version("1.17")}


@pytest.mark.parametrize(
    ("lock", "why"),
    [
        ("", "empty"),
        ("grpcio==1.85.1\n", "no SHA-256 hash"),
        ("grpcio==1.85.1 \\\n    --hash=md5:aa\n", "no SHA-256 hash"),
        (f"grpcio>=1.85.1 \\\n    {HASH}\n", "not a pinned package"),
        (f"-e . \\\n    {HASH}\n", "not a pinned package"),
        (f"grpcio @ https://example.org/grpcio.whl \\\n    {HASH}\n", "an address"),
        (f"--no-binary x\n{GOOD}", "not a pinned package"),
        (f"grpcio==1.65.3 \\\n    {HASH}\n", "is vulnerable"),
        (f"GRPCIO==1.65.3 ; python_version < '4' \\\n    {HASH}\n", "is vulnerable"),
    ],
)
def test_a_bad_lock_is_named(lock: str, why: str) -> None:
    assert any(why in each for each in found_in(lock)), found_in(lock)


def test_the_floor_itself_is_good() -> None:
    assert found_in(f"grpcio==1.65.4 \\\n    {HASH}\n") == []


def test_users_of_the_wheel_get_no_vulnerable_version_either() -> None:
    """They resolve pyproject.toml, not our locks."""
    project = '[project]\ndependencies = [{}]\n[project.optional-dependencies]\nredis = ["redis>=6"]\n'
    assert list(project_findings(project.format('"grpcio>=1.65.4"'), FLOORS)) == []
    for allowed in ("grpcio", "grpcio>=1.50", "grpcio<2"):
        (found,) = project_findings(project.format(f'"{allowed}"'), FLOORS)
        assert found.startswith(f"pyproject.toml: {allowed} allows versions before 1.65.4")


@pytest.mark.parametrize(
    "command", ["pip install --require-hashes -r a.txt", "pip install --only-binary :all: \\\n  -r a.txt"]
)
def test_an_install_without_hashes_or_with_builds_is_named(command: str) -> None:
    assert len(list(install_findings("Makefile", command))) == 1


def test_every_floor_is_of_a_package_that_a_lock_has() -> None:
    """A floor of a package that has gone says nothing; remove it."""
    locked = pins((ROOT / "requirements" / "dev.txt").read_text())
    assert {floor.package for floor in FLOORS} <= locked.keys()
    assert all(each.startswith(("CVE-", "GHSA-", "PYSEC-")) for floor in FLOORS for each in floor.ids)


def test_a_floor_without_a_reason_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "floors.toml"
    path.write_text('[[floor]]\npackage = "grpcio"\nfixed = "1.65.4"\nids = ["CVE-2024-7246"]\nreason = ""\n')
    with pytest.raises(ValueError, match="reason"):
        floors(path)
