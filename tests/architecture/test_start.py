"""What takes long to import is imported only where it is needed: `import grange` and a question to a cluster are quick.

`benchmarks/startup.py` measures the times. Here the reasons for them are pinned.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.architecture.sources import ROOT

DRIVERS = {"aiosqlite", "asyncpg", "redis"}
OF_A_SILO = {
    "pydantic",
    "pydantic_settings",
    "svcs",
    "attr",
    "starlette",
    "uvicorn",
    "prometheus_client",
    "grange.silo",
}
OF_A_PROCESS = {"grpc", "google.protobuf", "click", "rich", "uvloop", "grange.runtime", "grange.transport"}


def imported_by(*modules: str) -> set[str]:
    code = f"import sys, {', '.join(modules)}; print(*sys.modules)"
    return set(
        subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.split()
    )


def test_importing_grange_imports_no_library_of_a_process() -> None:
    assert imported_by("grange") & (DRIVERS | OF_A_SILO | OF_A_PROCESS) == set()


def test_a_client_imports_nothing_of_a_silo() -> None:
    assert imported_by("grange.client") & (DRIVERS | OF_A_SILO | {"click", "rich"}) == set()


@pytest.mark.parametrize(
    "command",
    ["activation_command", "ask", "audit_command", "call", "completion", "cordon_command", "deactivate_command",
     "drain_command", "follow_command", "log_level_command", "tasks_command"],
)  # fmt: skip
def test_a_command_that_asks_a_cluster_imports_nothing_of_a_silo(command: str) -> None:
    assert imported_by(f"grange.cli.{command}") & (OF_A_SILO | {"asyncpg", "redis"}) == set()


def test_the_help_imports_no_subcommand() -> None:
    assert imported_by("grange.cli.commands") & (DRIVERS | OF_A_SILO | {"grpc", "rich", "grange.client"}) == set()
