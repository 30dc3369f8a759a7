"""The pytest plugin of grange; its fixtures are in `fixtures.py` and `servers.py`.

pytest loads it wherever grange is installed, also in projects that test no grains. So it requires only pytest. Without
pytest-asyncio, only tests that request a fixture fail; the error names the extra to install.
"""

from __future__ import annotations

from importlib.util import find_spec

import pytest

# The contract suites use assert in a library: without this, a failing assert would not show its values.
pytest.register_assert_rewrite("grange.testing.contracts")


def pytest_configure(config: pytest.Config) -> None:
    """Register the fixtures. pytest calls this once, before collection."""
    if find_spec("pytest_asyncio") is not None:
        config.pluginmanager.import_plugin("grange.testing.fixtures")
        config.pluginmanager.import_plugin("grange.testing.servers")
    else:
        config.pluginmanager.register(_NotInstalled(), "grange-fixtures-not-installed")


class _NotInstalled:
    """Replaces the fixtures while the extra `testing` is not installed."""

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
