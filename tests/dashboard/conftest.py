"""Virtual time for tests without a cluster."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from grange.testing.loop import VirtualTime, clock_of_loop


@pytest.fixture
async def time() -> AsyncGenerator[VirtualTime]:
    with clock_of_loop(virtual=True) as found:
        assert found is not None
        yield found
