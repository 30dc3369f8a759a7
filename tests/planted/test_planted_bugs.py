"""The checks are strong enough: each of these bugs, planted in a copy of the tree, makes one of them fail.

The same checks pass on the tree as it is; they are part of the other tests.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.planted.planting import TIME_LIMIT, Bug, check, plant, planted_bugs

pytestmark = pytest.mark.planted

FAILED = 1
"""What pytest and the simulation exit with when a check failed; any other code means that they did not get so far."""


@pytest.mark.timeout(TIME_LIMIT + 20)
@pytest.mark.parametrize("bug", planted_bugs(), ids=lambda bug: bug.name)
def test_a_planted_bug_is_noticed(bug: Bug, tmp_path: Path):
    plant(bug, tmp_path)
    seen = check(bug, tmp_path)
    assert seen.returncode == FAILED, (
        f"{bug.name} ({bug.words}) was not noticed: exit code {seen.returncode}\n"
        f"{seen.stdout[-2000:]}{seen.stderr[-2000:]}"
    )
