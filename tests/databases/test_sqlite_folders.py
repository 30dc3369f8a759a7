"""A folder or file that SQLite cannot use is named, with the reason."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from grange.databases.errors import DatabaseUnavailable
from grange.databases.sqlite import is_there, open_sqlite, path_of
from grange.databases.urls import sqlite_url
from grange.errors import ConfigurationError


async def refusal(path: Path) -> str:
    with pytest.raises((ConfigurationError, DatabaseUnavailable)) as caught:
        async with open_sqlite(path, 1.0, 0.5, "FULL"):
            pass
    return str(caught.value)


async def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("")
    for folder in ("notes", "notes/deeper"):
        with pytest.raises(ConfigurationError, match="a part of the path is a file; name a folder"):
            async with open_sqlite(tmp_path / folder / "state.db", 1.0, 0.5, "FULL"):
                pass
        with pytest.raises(ConfigurationError, match="a part of the path is a file; name a folder"):
            is_there(tmp_path / folder / "state.db")


async def test_a_folder_in_place_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "state.db").mkdir()
    assert "is a folder; name another file, or another data folder" in await refusal(tmp_path / "state.db")


async def test_a_folder_that_this_user_may_not_write_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # the tests may run as root, who may write everywhere
    assert "this user may not write into the folder of the SQLite file" in await refusal(tmp_path / "state.db")


def test_a_file_that_this_user_may_not_look_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_there(tmp_path / "state.db")

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "stat", refused)
    with pytest.raises(DatabaseUnavailable, match="cannot be read: Permission denied"):
        is_there(tmp_path / "state.db")


@pytest.mark.parametrize("name", ["feature%2Fx", "a%20b", "a#b", "a?b=c", "a b", "ü", "a@b:1", "a&b;c", "%", "%zz"])
def test_the_url_of_a_file_names_exactly_that_file(name: str) -> None:
    for path in (Path(name) / "state.db", Path("/") / name / "state.db"):
        assert path_of(sqlite_url(path)) == path
