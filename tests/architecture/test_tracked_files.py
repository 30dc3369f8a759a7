"""What no file of the repository may hold: places of one machine, registries, unpinned packages."""

from __future__ import annotations

import re
import tomllib

import pytest

from tests.architecture.sources import ROOT, shown, tracked_texts

MACHINE_PATHS = re.compile(r"(?<![\w.~}$)-])/(?:root|home|Users|work|opt|mnt|private)/\w|[A-Z]:\\\\?Users")
REGISTRIES = re.compile(
    r"pypi\.org|pythonhosted\.org|registry\.npmjs|npmjs\.(?:org|com)|deb\.debian\.org|docker\.io/|ghcr\.io|quay\.io"
    r"|crates\.io|proxy\.golang|(?<!no-emit-)index-url|--find-links"
)
THIS = frozenset({"tests/architecture/test_tracked_files.py"})
LOCKS = ("dev", "test", "runtime", "build")


def _found(pattern: re.Pattern[str], *, without: frozenset[str] = frozenset()) -> list[str]:
    return [
        f"{shown(path)}:{number}: {line.strip()[:120]}"
        for path in tracked_texts()
        if shown(path) not in without
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if pattern.search(line)
    ]


def test_no_file_names_a_place_of_one_machine() -> None:
    assert _found(MACHINE_PATHS, without=THIS) == []


def test_no_file_names_a_registry() -> None:
    own = THIS | {"scripts/lock"}
    assert _found(REGISTRIES, without=own) == []


@pytest.mark.parametrize("name", LOCKS)
def test_every_locked_package_is_pinned_to_its_hashes(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    assert "://" not in text
    packages = re.split(r"\n(?=\w)", text.strip())
    assert len(packages) > 3
    for package in packages:
        assert re.match(r"[\w.-]+==\S+ (; .+ )?\\\n +--hash=sha256:[0-9a-f]{64}", package), package[:80]


def test_the_locks_agree_with_each_other_and_with_the_project() -> None:
    locked = {name: _pins((ROOT / "requirements" / f"{name}.txt").read_text()) for name in LOCKS}
    for name in ("test", "runtime", "build"):
        assert locked[name].items() <= locked["dev"].items()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert _names(project["dependencies"]) <= locked["runtime"].keys()
    assert _names([*extras["redis"], *extras["postgres"]]) <= locked["runtime"].keys()
    assert _names([need for extra in extras.values() for need in extra]) <= locked["test"].keys()


def _pins(text: str) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==(\S+)", text, re.MULTILINE))


def _names(requirements: list[str]) -> set[str]:
    return {re.split(r"[^\w.-]", requirement)[0].lower() for requirement in requirements}
