"""`python -m scripts.audit`: ask a service which locked packages have known vulnerabilities (`make audit`).

It runs pip-audit on each lock, and reads its answer package by package: pip-audit itself exits with 0 and reports no
vulnerability when its service did not answer for a single package.

Exit code 0: every package was audited, and no vulnerability is known. 1: a vulnerability is known. 3: a package was
not audited, because the service does not answer or does not know it; so nothing is proved. `scripts/check_locks.py`
needs no service, and is part of `make check`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LOCKS = ("runtime", "build", "dev")
"""dev contains test."""

CLEAN, VULNERABLE, NOT_AUDITED = 0, 1, 3
OPTIONS = ("--disable-pip", "--require-hashes", "--format", "json", "--progress-spinner", "off")


@dataclass(frozen=True)
class Verdict:
    """What is known of one lock."""

    audited: int
    vulnerable: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()

    def exit_code(self) -> int:
        if self.vulnerable:
            return VULNERABLE
        return NOT_AUDITED if self.skipped or not self.audited else CLEAN

    def lines(self, name: str) -> list[str]:
        """What to tell a reader, the worst first."""
        told = [f"{name}: {each}" for each in self.vulnerable]
        if self.skipped and not self.audited:
            told.append(f"{name}: not audited: the service does not answer ({len(self.skipped)} packages)")
        elif self.skipped:
            told.append(f"{name}: not audited: {', '.join(self.skipped)}")
        elif not self.audited:
            told.append(f"{name}: not audited: pip-audit gave no answer")
        elif not self.vulnerable:
            told.append(f"{name}: {self.audited} packages, no known vulnerability")
        return told


def verdict(answer: str) -> Verdict:
    """The verdict on pip-audit's JSON. An answer that is not its JSON proves nothing."""
    try:
        rows: list[dict[str, Any]] = json.loads(answer)["dependencies"]
    except (ValueError, KeyError, TypeError):
        return Verdict(0)
    audited = [row for row in rows if "vulns" in row]
    found = [
        f"{row['name']} {row['version']}: {each['id']}, fixed in {' or '.join(each['fix_versions']) or 'no version'}"
        for row in audited
        for each in row["vulns"]
    ]
    return Verdict(len(audited), tuple(found), tuple(row["name"] for row in rows if "vulns" not in row))


def ask(lock: Path, command: Sequence[str]) -> Verdict:
    """Run pip-audit on a lock. Its own exit code says too little."""
    asked = subprocess.run(
        [*command, *OPTIONS, "--requirement", str(lock)], capture_output=True, text=True, check=False
    )
    return verdict(asked.stdout)


def main(command: Sequence[str] = (sys.executable, "-m", "pip_audit")) -> int:
    """Audit every lock; a known vulnerability weighs more than a package that was not audited."""
    codes: set[int] = set()
    for name in LOCKS:
        found = ask(ROOT / "requirements" / f"{name}.txt", command)
        print("\n".join(found.lines(name)))
        codes.add(found.exit_code())
    return VULNERABLE if VULNERABLE in codes else NOT_AUDITED if NOT_AUDITED in codes else CLEAN


if __name__ == "__main__":
    sys.exit(main())
