"""`scripts/install-tools`: installs what tests need, says what is missing, and leaves an installed program alone."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.architecture.sources import ROOT

PROGRAMS = ("chromium", "npm", "prometheus", "promtool", "ip", "openssl")


def run(folder: Path, user: int, *programs: str) -> subprocess.CompletedProcess[str]:
    """Run the script with these programs on PATH, as this user. `apt-get` writes its arguments down."""
    for name in ("sh", "touch"):
        (folder / name).symlink_to(shutil.which(name) or name)
    scripts = {name: "" for name in programs} | {"id": f"echo {user}"}
    scripts |= {name: f'echo "$@" >> {folder}/log' for name in ("apt-get", "invoke-rc.d")}
    for name, script in scripts.items():
        path = folder / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
    return subprocess.run(
        ["sh", str(ROOT / "scripts" / "install-tools")],
        env={"PATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_installed_programs_are_left_alone(tmp_path: Path) -> None:
    done = run(tmp_path, 0, *PROGRAMS)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not (tmp_path / "log").exists()


def test_what_is_missing_is_installed_by_root(tmp_path: Path) -> None:
    done = run(tmp_path, 0, "npm", "prometheus", "promtool", "ip", "openssl")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "log").read_text().splitlines() == [
        "-qq update",
        "-qq install --yes --no-install-recommends chromium",
    ]


def test_one_package_of_two_programs_is_named_once(tmp_path: Path) -> None:
    done = run(tmp_path, 0, "chromium", "npm", "ip", "prometheus", "openssl")
    assert done.returncode == 0, done.stderr
    install, *rest = (tmp_path / "log").read_text().splitlines()[1:]
    assert install.endswith("--no-install-recommends prometheus")
    assert rest == ["prometheus stop"]


def test_without_root_it_says_what_to_install(tmp_path: Path) -> None:
    done = run(tmp_path, 1000, "npm", "prometheus", "promtool", "openssl")
    assert done.returncode == 1
    assert "apt-get install chromium iproute2" in done.stderr
    assert not (tmp_path / "log").exists()
