"""No file of the repository names a path of one machine, or a package registry."""

from __future__ import annotations

import re

from tests.architecture.sources import shown, tracked_texts

MACHINE_PATHS = re.compile(r"(?<![\w.~}$)-])/(?:root|home|Users|work|opt|mnt|private)/\w|[A-Z]:\\\\?Users")
REGISTRIES = re.compile(
    r"pypi\.org|pythonhosted\.org|registry\.npmjs|npmjs\.(?:org|com)|deb\.debian\.org|docker\.io/|ghcr\.io|quay\.io"
    r"|crates\.io|proxy\.golang|(?<!no-emit-)index-url|--find-links"
)
THIS = frozenset({"tests/architecture/test_tracked_files.py"})


def _found(pattern: re.Pattern[str], *, without: frozenset[str] = frozenset()) -> list[str]:
    return [
        f"{shown(path)}:{number}: {line.strip()[:120]}"
        for path in tracked_texts()
        if shown(path) not in without
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if pattern.search(line)
    ]


def test_no_file_names_a_path_of_one_machine() -> None:
    assert _found(MACHINE_PATHS, without=THIS) == []


def test_no_file_names_a_registry() -> None:
    own = THIS | {"scripts/lock"}
    assert _found(REGISTRIES, without=own) == []
