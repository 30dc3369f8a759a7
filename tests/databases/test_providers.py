"""Providers by entry point: third parties' schemes are found, and errors name the remedy and no secret."""

from __future__ import annotations

from importlib.metadata import EntryPoint, EntryPoints, entry_points
from pathlib import Path

import pytest

from grange.databases import providers
from grange.databases.providers import find_provider, load_provider
from grange.errors import ConfigurationError

POINTS = EntryPoints(
    [
        EntryPoint("theirs", "json:JSONDecoder", "grange.test"),
        EntryPoint("twice", "json:JSONDecoder", "grange.test"),
        EntryPoint("twice", "json:JSONEncoder", "grange.test"),
        EntryPoint("same", "json:JSONDecoder", "grange.test"),
        EntryPoint("same", "json:JSONDecoder", "grange.test"),
        EntryPoint("gone", "a_driver_that_is_missing.part:Store", "grange.test"),
    ]
)


@pytest.fixture(autouse=True)
def points(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(providers, "entry_points", POINTS.select)


def test_a_third_partys_scheme_is_loaded() -> None:
    assert load_provider("grange.test", "theirs://anything", "storage").__name__ == "JSONDecoder"
    assert find_provider("grange.test", "other://anything") is None


def test_a_provider_that_is_named_twice_is_loaded() -> None:
    assert load_provider("grange.test", "same://anything", "storage").__name__ == "JSONDecoder"


def test_two_packages_with_one_scheme_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when one of them is grange: no provider is preferred silently."""
    folder = tmp_path / "theirs-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text("[grange.storage]\nredis = json:JSONDecoder\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(providers, "entry_points", entry_points)
    with pytest.raises(ConfigurationError, match=r"grange \(grange\..*:RedisStorage\) and theirs \(json:JSONDecoder\)"):
        load_provider("grange.storage", "redis://host", "storage")


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("user:s3cret@host", "not a storage URL: it has no scheme; known are gone://, same://, theirs://"),
        ("user:s3cret@host?x=file:///a", "not a storage URL: it has no scheme; known are gone://, same://"),
        ("other://user:s3cret@host", "the storage URL has the scheme 'other'; known are gone://, same://, theirs://"),
        ("twice://user:s3cret@host", "twice:// has several providers .grange.test.: json:JSONDecoder and json:JSONEnc"),
        ("gone://user:s3cret@host", "needs the package a_driver_that_is_missing, which is not installed: pip install"),
    ],
)
def test_an_unusable_url_is_a_configuration_error(url: str, text: str) -> None:
    with pytest.raises(ConfigurationError, match=text) as caught:
        load_provider("grange.test", url, "storage")
    assert "s3cret" not in str(caught.value)
