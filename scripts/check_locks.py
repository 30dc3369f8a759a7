"""`python -m scripts.check_locks`: every lock is pinned by hash and above the reviewed floors. Needs no network.

`make check` runs it, so a lock with a version that is known to be vulnerable fails there. `scripts/audit.py` asks a
service as well. Exit code 0: nothing found; 1: findings, one a line.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PACKAGE = re.compile(r"(?P<name>[\w.-]+)==(?P<version>[^\s;\\]+)(?: ; [^\\\n]+)?(?P<hashes>(?: \\\n +--hash=\S+)*)\n?")
HASH = re.compile(r"--hash=(\S+)")
SHA256 = re.compile(r"sha256:[0-9a-f]{64}")
ADDRESS = re.compile(r"\w+://|file:")
INSTALL = re.compile(r"pip install[^&\n]* -r ?[^&\n]*")
FLAGS = ("--require-hashes", "--only-binary :all:")


@dataclass(frozen=True)
class Floor:
    """The first version of a package without these vulnerabilities."""

    package: str
    fixed: Version
    ids: tuple[str, ...]


def floors(path: Path) -> list[Floor]:
    """The floors of a file. Raises KeyError or InvalidVersion for an incomplete one."""
    rows = tomllib.loads(path.read_text("utf-8"))["floor"]
    found = [Floor(canonicalize_name(row["package"]), Version(row["fixed"]), tuple(row["ids"])) for row in rows]
    if not found or any(not row["ids"] or not row["reason"] for row in rows):
        raise ValueError(f"{path.name}: each floor needs ids and a reason")
    return found


def pins(lock: str) -> dict[str, Version]:
    """Each package of a lock with its version."""
    found = (PACKAGE.match(part) for part in _parts(lock))
    return {canonicalize_name(match["name"]): Version(match["version"]) for match in found if match}


def lock_findings(name: str, lock: str, known: list[Floor]) -> Iterator[str]:
    """What is wrong with the text of a lock: no hash, an address, an option, a version below a floor."""
    if not lock.strip():
        yield f"{name}: it is empty"
    for part in _parts(lock):
        first = part.split("\n")[0]
        match = PACKAGE.fullmatch(part)
        if ADDRESS.search(part):
            yield f"{name}: an address does not belong here: {first}"
        elif not match:
            yield f"{name}: not a pinned package: {first}"
        elif not match["hashes"] or not all(SHA256.fullmatch(each) for each in HASH.findall(part)):
            yield f"{name}: no SHA-256 hash: {first}"
    locked = pins(lock)
    for floor in known:
        version = locked.get(floor.package)
        if version is not None and version < floor.fixed:
            yield f"{name}: {floor.package} {version} is vulnerable ({', '.join(floor.ids)}); fixed in {floor.fixed}"


def project_findings(project: str, known: list[Floor]) -> Iterator[str]:
    """Requirements of pyproject.toml that allow a version below a floor: users do not install from our locks."""
    table = tomllib.loads(project)["project"]
    needs = [*table["dependencies"], *(need for extra in table["optional-dependencies"].values() for need in extra)]
    for need in sorted(set(needs)):
        requirement = Requirement(need)
        for floor in known:
            if floor.package == canonicalize_name(requirement.name) and not _at_least(requirement, floor.fixed):
                yield f"pyproject.toml: {need} allows versions before {floor.fixed} ({', '.join(floor.ids)})"


def install_findings(name: str, text: str) -> Iterator[str]:
    """Commands that install from a lock without checking hashes, or that may run a package's own build."""
    for command in INSTALL.findall(text.replace("\\\n", " ")):
        for flag in FLAGS:
            if flag not in command:
                yield f"{name}: without {flag}: {command.strip()}"


def findings(root: Path = ROOT) -> list[str]:
    """Everything that is wrong in a tree."""
    known = floors(root / "requirements" / "floors.toml")
    locks = sorted([*root.glob("requirements/*.txt"), *root.glob("benchmarks/requirements/*.txt")])
    found: list[str] = [] if locks else ["requirements: there is no lock"]
    for path in locks:
        found += lock_findings(path.relative_to(root).as_posix(), path.read_text("utf-8"), known)
    found += project_findings((root / "pyproject.toml").read_text("utf-8"), known)
    for name in ("Makefile", "Dockerfile"):
        found += install_findings(name, (root / name).read_text("utf-8"))
    return found


def _parts(lock: str) -> list[str]:
    """The entries of a lock: a line with the indented lines below it. Comments are dropped."""
    text = "\n".join(line for line in lock.splitlines() if line.strip() and not line.lstrip().startswith("#"))
    return [f"{part}\n" for part in re.split(r"\n(?=\S)", text) if part]


def _at_least(requirement: Requirement, fixed: Version) -> bool:
    lower = [Version(each.version) for each in requirement.specifier if each.operator in {">=", ">", "==", "~="}]
    return bool(lower) and max(lower) >= fixed


if __name__ == "__main__":
    found = findings()
    for each in found:
        print(each, file=sys.stderr)
    if not found:
        print("every lock is pinned by hash and above the floors of requirements/floors.toml")
    sys.exit(1 if found else 0)
