"""S12: an audit that asked nothing is not a clean one."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from scripts import audit
from tests.architecture.sources import ROOT

CLEAN = {"name": "grpcio", "version": "1.85.1", "vulns": []}
SKIPPED = {"name": "redis", "skip_reason": "Dependency not found and could not be audited"}
BAD = {"name": "h11", "version": "0.14.0", "vulns": [{"id": "CVE-2025-43859", "fix_versions": ["0.16.0"]}]}


def answered(*rows: dict[str, Any]) -> str:
    return json.dumps({"dependencies": list(rows), "fixes": []})


@pytest.mark.parametrize(
    ("answer", "code", "told"),
    [
        (answered(CLEAN), 0, "x: 1 packages, no known vulnerability"),
        (answered(CLEAN, BAD), 1, "x: h11 0.14.0: CVE-2025-43859, fixed in 0.16.0"),
        (answered(SKIPPED, BAD), 1, "x: not audited: redis"),
        (answered(CLEAN, SKIPPED), 3, "x: not audited: redis"),
        (answered(SKIPPED, SKIPPED), 3, "x: not audited: the service does not answer (2 packages)"),
        (answered(), 3, "x: not audited: pip-audit gave no answer"),
        ("", 3, "x: not audited: pip-audit gave no answer"),
        ("[]", 3, "x: not audited: pip-audit gave no answer"),
    ],
)
def test_the_verdict_keeps_clean_vulnerable_and_not_audited_apart(answer: str, code: int, told: str) -> None:
    found = audit.verdict(answer)
    assert found.exit_code() == code
    assert told in found.lines("x")


@pytest.mark.parametrize(("rows", "code"), [((CLEAN,), 0), ((CLEAN, BAD), 1), ((CLEAN, SKIPPED), 3)])
def test_the_program_ends_with_the_code_of_the_worst_lock(tmp_path: Path, rows: Any, code: int) -> None:
    """A program in place of pip-audit that answers this for the runtime lock, and finds the others clean.

    Like pip-audit, it exits with 0 when it skipped everything.
    """
    program = tmp_path / "answers.py"
    program.write_text(
        f"import sys\nprint({answered(*rows)!r} if 'runtime' in sys.argv[-1] else {answered(CLEAN)!r})\n"
    )
    assert audit.main((sys.executable, str(program))) == code


def test_every_lock_is_audited() -> None:
    """dev contains test: tests/architecture/test_dependencies.py."""
    locks = {path.stem for path in (ROOT / "requirements").glob("*.txt")}
    assert locks - {"test"} == set(audit.LOCKS)
