"""Providers by entry point: third parties' schemes are found, and errors name the remedy and no secret."""

from __future__ import annotations

from importlib.metadata import EntryPoint, EntryPoints

import pytest

from grange.databases import providers
from grange.databases.providers import find_provider, load_provider
from grange.errors import ConfigurationError

POINTS = EntryPoints(
    [
        EntryPoint("theirs", "json:JSONDecoder", "grange.test"),
        EntryPoint("gone", "a_driver_that_is_missing.part:Store", "grange.test"),
    ]
)


@pytest.fixture(autouse=True)
def points(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(providers, "entry_points", POINTS.select)


def test_a_third_partys_scheme_is_loaded() -> None:
    assert load_provider("grange.test", "theirs://anything", "storage").__name__ == "JSONDecoder"
    assert find_provider("grange.test", "other://anything") is None


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("user:s3cret@host", "not a storage URL: it has no scheme; known are gone://, theirs://"),
        ("other://user:s3cret@host", "the storage URL has the scheme 'other'; known are gone://, theirs://"),
        ("gone://user:s3cret@host", "needs the package a_driver_that_is_missing, which is not installed: pip install"),
    ],
)
def test_an_unusable_url_is_a_configuration_error(url: str, text: str) -> None:
    with pytest.raises(ConfigurationError, match=text) as caught:
        load_provider("grange.test", url, "storage")
    assert "s3cret" not in str(caught.value)
