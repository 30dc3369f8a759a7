"""The last release beside the tree under test: its files, from the history of this repository.

There is no released version yet. The commit below stands for it: its wire and its stores are what the next release
must understand, both ways.
"""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from benchmarks.installed import describe
from tests.processes.silo_process import ROOT

LAST_RELEASE = "0efb1d0cbc70c30467191c38405e9ccdc0dfb1a9"
"""The commit whose tree counts as the last release."""


def last_release(folder: Path) -> Path:
    """Write the tree of the last release into `folder`, and return its root.

    Skips the test where the history lacks it: in an unpacked archive, in a shallow clone, and in a new repository.
    """
    if not (ROOT / ".git").exists():
        pytest.skip("this tree is no clone, so the last release is not in it: run it in a clone of the repository")
    if _git("cat-file", "-e", f"{LAST_RELEASE}^{{commit}}").returncode:
        pytest.skip(
            f"the history lacks {LAST_RELEASE}, the last release; if this clone is shallow: git fetch --unshallow"
        )
    archive = _git("archive", "--format=tar", LAST_RELEASE, "grange", "tests/processes", "pyproject.toml")
    assert archive.returncode == 0, archive.stderr
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        # Python 3.11.2 has no filters.
        tar.extractall(folder, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    describe(folder)
    return folder


def _git(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, check=False)
