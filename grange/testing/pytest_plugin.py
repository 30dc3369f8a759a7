"""The pytest plugin of grange; the fixtures that it brings are in `fixtures.py`.

pytest loads it wherever grange is installed, also in projects that test no grains. So it needs nothing but
pytest: without pytest-asyncio, only a test that asks for a fixture fails, and says what to install.
"""

from __future__ import annotations

from importlib.util import find_spec

import pytest

# The shipped suites are asserts in a library: without this, a failing one would not show its values.
pytest.register_assert_rewrite("grange.testing.contracts")


def pytest_configure(config: pytest.Config) -> None:
    """Called by pytest once, before it collects."""
    if find_spec("pytest_asyncio") is not None:
        config.pluginmanager.import_plugin("grange.testing.fixtures")
    else:
        config.pluginmanager.register(_NotInstalled(), "grange-fixtures-not-installed")


class _NotInstalled:
    """What stands in for the fixtures while the extra `testing` is missing."""

    @pytest.fixture
    def grange_cluster(self) -> None:
        _refuse("grange_cluster")

    @pytest.fixture
    def grange_redis(self) -> None:
        _refuse("grange_redis")

    @pytest.fixture
    def grange_postgres(self) -> None:
        _refuse("grange_postgres")


def _refuse(fixture: str) -> None:
    raise pytest.UsageError(f"{fixture} needs the extra 'testing' of grange: pip install 'grange[testing]'")
