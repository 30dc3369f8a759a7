"""Every process that a test starts ends with the test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.processes.silo_process import Silos


@pytest.fixture
async def silos(tmp_path: Path) -> AsyncIterator[Silos]:
    """Starts silos whose folder is the test's own."""
    started = Silos(tmp_path)
    try:
        yield started
    finally:
        await started.close()
