"""The checks detect bugs: each of these bugs, planted in a copy of the tree, makes its check fail.

The same checks pass on the tree itself; they are part of the other tests.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.planted.planting import TIME_LIMIT, Bug, check, plant, planted_bugs

pytestmark = pytest.mark.planted

FAILED = 1
"""Exit code of pytest and of the simulation when a check failed; any other code means that the check did not run."""


@pytest.mark.timeout(TIME_LIMIT + 20)
@pytest.mark.parametrize("bug", planted_bugs(), ids=lambda bug: bug.name)
def test_a_planted_bug_is_detected(bug: Bug, tmp_path: Path):
    plant(bug, tmp_path)
    seen = check(bug, tmp_path)
    assert seen.returncode == FAILED, (
        f"{bug.name} ({bug.words}) was not detected: exit code {seen.returncode}\n"
        f"{seen.stdout[-2000:]}{seen.stderr[-2000:]}"
    )
