"""`python -m scripts.sbom`: write requirements/grange.cdx.json, the bill of materials that the wheel carries.

It is CycloneDX 1.6, made from requirements/runtime.txt and from the metadata of the installed packages: versions,
licences and which package needs which. The same lock gives the same bytes: there is no time stamp, no serial number and
no address. The wheel has it in `.dist-info/sboms/` (PEP 770). Run it after `make lock`, in the new environment.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path
from types import MappingProxyType
from typing import Any

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts.check_locks import pins

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements" / "runtime.txt"
SBOM = ROOT / "requirements" / "grange.cdx.json"
EXTRAS = ("redis", "postgres", "tls", "vault")
"""What the runtime lock has beside the dependencies: scripts/lock."""

KNOWN = MappingProxyType({
    "async-timeout": "Apache-2.0",  # only for Python before 3.11.3
    "aiosqlite": "MIT",
    "markdown-it-py": "MIT",
    "mdurl": "MIT",
    "protobuf": "BSD-3-Clause",
    "uvloop": "Apache-2.0 OR MIT",
})  # fmt: skip
"""The SPDX licence where the metadata states no SPDX licence, or the package may not be installed."""

OLDEST = MappingProxyType({
    "extra": "", "implementation_name": "cpython", "implementation_version": "3.11.0", "os_name": "posix",
    "platform_machine": "x86_64", "platform_python_implementation": "CPython", "platform_release": "",
    "platform_system": "Linux", "platform_version": "", "python_full_version": "3.11.0", "python_version": "3.11",
    "sys_platform": "linux",
})  # fmt: skip
"""Conditional needs are decided for this Python, so that every Python writes the same file."""


def sbom() -> str:
    """The text of the file. Raises ValueError for an unknown licence or another installed version."""
    lock = {name: str(version) for name, version in sorted(pins(LOCK.read_text("utf-8")).items())}
    conditions = dict(re.findall(r"^([\w.-]+)==\S+ ; (.+) \\$", LOCK.read_text("utf-8"), re.MULTILINE))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    root = {
        "type": "library",
        "bom-ref": "grange",
        "name": "grange",
        "version": project["version"],
        "licenses": [{"expression": project["license"]}],
        "purl": f"pkg:pypi/grange@{project['version']}",
    }
    extras = [need for extra in EXTRAS for need in project["optional-dependencies"][extra]]
    graph = [{"ref": "grange", "dependsOn": _refs([*project["dependencies"], *extras], lock)}]
    graph += [{"ref": _ref(name, lock), "dependsOn": _refs(_needs(name), lock)} for name in lock]
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": root},
        "components": [_component(name, lock, conditions.get(name, "")) for name in lock],
        "dependencies": graph,
    }
    return json.dumps(document, indent=2) + "\n"


def licence(name: str) -> str:
    """The SPDX licence of an installed package, or the one in `KNOWN`. Raises ValueError."""
    if name in KNOWN:
        return KNOWN[name]
    found = metadata(name)
    stated = found.get("License-Expression") or found.get("License") or ""
    try:
        return canonicalize_license_expression(stated)
    except InvalidLicenseExpression:
        raise ValueError(f"{name}: its metadata states no SPDX licence: add it to KNOWN in scripts/sbom.py") from None


def _component(name: str, lock: dict[str, str], condition: str) -> dict[str, Any]:
    _check_installed(name, lock[name])
    component: dict[str, Any] = {
        "type": "library",
        "bom-ref": _ref(name, lock),
        "name": name,
        "version": lock[name],
        "licenses": [{"expression": licence(name)}],
        "purl": _ref(name, lock),
    }
    if condition:
        component["scope"] = "optional"
        component["properties"] = [{"name": "grange:condition", "value": condition}]
    return component


def _check_installed(name: str, locked: str) -> None:
    try:
        installed = version(name)
    except PackageNotFoundError:
        if name not in KNOWN:
            raise ValueError(f"{name} is not installed") from None
        return
    if installed != locked:
        raise ValueError(f"{name}: {installed} is installed, {locked} is locked; run make check first")


def _needs(name: str) -> list[str]:
    try:
        return requires(name) or []
    except PackageNotFoundError:
        return []


def _refs(needs: list[str], lock: dict[str, str]) -> list[str]:
    found = map(Requirement, needs)
    names = {canonicalize_name(each.name) for each in found if not each.marker or each.marker.evaluate(dict(OLDEST))}
    return [_ref(name, lock) for name in sorted(names) if name in lock]


def _ref(name: str, lock: dict[str, str]) -> str:
    return f"pkg:pypi/{name}@{lock[name]}"


if __name__ == "__main__":
    try:
        SBOM.write_text(sbom(), "utf-8")
    except ValueError as problem:
        sys.exit(f"sbom: {problem}")
    print(SBOM.relative_to(ROOT))
