"""The fixtures of grange's pytest plugin, in a separate test run."""

from __future__ import annotations

import sys

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
    """Installing grange is enough: no conftest, no import."""
    pytester.makepyfile(TESTS)
    result = pytester.runpytest_subprocess("-q", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=2)


WITHOUT_ASYNCIO = """
import importlib.util, sys
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == "pytest_asyncio" else found(name, package)
import pytest
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", "-p", "no:asyncio"]))
"""
"""pytest-asyncio is neither loaded nor found, as where grange is installed without extras."""


def test_a_project_without_the_extra_keeps_its_tests(pytester: pytest.Pytester) -> None:
    """pytest loads the plugin wherever grange is installed: it must not break other tests."""
    pytester.makepyfile("def test_mine(): pass\n\ndef test_cluster(grange_cluster): pass\n")
    result = pytester.run(sys.executable, "-c", WITHOUT_ASYNCIO)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*grange_cluster needs the extra 'testing'*pip install*"])
