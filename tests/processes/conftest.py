"""The fixture that starts silo processes and ends all of them with the test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.processes.silo_process import Silos


@pytest.fixture
async def silos(tmp_path: Path) -> AsyncIterator[Silos]:
    """Starts silos in the test's own folder."""
    started = Silos(tmp_path)
    try:
        yield started
    finally:
        await started.close()
