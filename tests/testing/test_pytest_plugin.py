"""The fixtures that users of grange get from its pytest plugin, tried in a test run of their own."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

TESTS = """
import pytest
from grange import Grain

class Hello(Grain):
    async def say(self) -> str:
        return f"hello {self.key}"

@pytest.mark.asyncio
async def test_two_clusters(grange_cluster):
    one = await grange_cluster([Hello], silos=2)
    assert await one.get_grain(Hello, "ann").say() == "hello ann"
    await one.advance(3600)

def test_redis(grange_redis):
    assert grange_redis.startswith("redis://")
"""


def test_fixtures_work_in_a_users_tests(pytester: pytest.Pytester) -> None:
    """Installed is enough: no conftest, no import."""
    pytester.makepyfile(TESTS)
    result = pytester.runpytest_subprocess("-q", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=2)
