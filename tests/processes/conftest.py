"""The fixture that starts silo processes and ends all of them with the test."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.processes.silo_process import Silos


@pytest.fixture(scope="session", autouse=True)
def interrupts() -> None:
    """Have SIGINT reach the processes of the tests.

    A shell lets what it starts in the background ignore SIGINT, and every child inherits that.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
async def silos(tmp_path: Path) -> AsyncIterator[Silos]:
    """Starts silos in the test's own folder."""
    started = Silos(tmp_path)
    try:
        yield started
    finally:
        await started.close()
