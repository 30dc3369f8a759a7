"""`check_stored_samples`: what fails when a type of state changes, and what it writes on request."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import pytest

from grange import Grain, Renamed, state_schema
from grange.testing import check_stored_samples


@dataclass
class First:
    name: str = ""
    total: int = 0


@dataclass
class Grown:
    name: str = ""
    total: int = 0
    tags: list[str] = field(default_factory=list)


@dataclass
class Broken:
    name: int = 0
    total: int = 0


@state_schema(2, upgrades={1: lambda data: {**data, "total": data["total"] * 100}})
@dataclass
class Second:
    owner: Annotated[str, Renamed("name")] = ""
    total: int = 0


@state_schema(2, upgrades={1: lambda data: {**data, "total": data["total"] * 10}})
@dataclass
class Other:
    owner: Annotated[str, Renamed("name")] = ""
    total: int = 0


ANN = {"ann": First("ann", 3)}


def sample(folder: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / name).read_text())
    return found


def test_samples_are_written_on_request_only(tmp_path: Path) -> None:
    """SCE-07: a sample has the version, what is stored, and what it reads as."""
    with pytest.raises(AssertionError, match=r"no sample v1-ann.json of what is stored of 'ann'"):
        check_stored_samples(First, tmp_path, ANN)
    assert not list(tmp_path.iterdir())
    check_stored_samples(First, tmp_path, ANN, write=True)
    stored = {"name": "ann", "total": 3}
    assert sample(tmp_path, "v1-ann.json") == {"version": 1, "stored": stored, "reads as": stored}
    check_stored_samples(First, tmp_path, ANN)


def test_the_environment_asks_for_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRANGE_WRITE_SAMPLES", "1")
    check_stored_samples(First, tmp_path, ANN)
    assert [path.name for path in tmp_path.iterdir()] == ["v1-ann.json"]


def test_a_field_that_was_added_is_noticed_and_gets_a_sample_of_its_own(tmp_path: Path) -> None:
    """SCE-07: what older releases stored stays in the folder, and is still read."""
    check_stored_samples(First, tmp_path, ANN, write=True)
    with pytest.raises(
        AssertionError, match=r"version 1 stores something else of 'ann' than v1-ann.json has \(added: t"
    ):
        check_stored_samples(Grown, tmp_path, {"ann": Grown("ann", 3)})
    check_stored_samples(Grown, tmp_path, {"ann": Grown("ann", 3)}, write=True)
    assert sample(tmp_path, "v1-ann.json")["stored"] == {"name": "ann", "total": 3}
    assert sample(tmp_path, "v1-ann-2.json")["stored"] == {"name": "ann", "total": 3, "tags": []}
    check_stored_samples(Grown, tmp_path, {"ann": Grown("ann", 3)})


def test_a_sample_that_cannot_be_read_fails_also_when_writing(tmp_path: Path) -> None:
    check_stored_samples(First, tmp_path, ANN, write=True)
    for write in (False, True):
        with pytest.raises(AssertionError, match=r"v1-ann.json cannot be read any more: Expected `int`, got `str`"):
            check_stored_samples(Broken, tmp_path, {}, write=write)


def test_an_upgrade_that_changes_its_result_is_noticed(tmp_path: Path) -> None:
    """SCE-07: the samples of each version show what the upgrades make of them."""
    check_stored_samples(First, tmp_path, ANN, write=True)
    check_stored_samples(Second, tmp_path, {"ann": Second("ann", 300)}, write=True)
    assert sample(tmp_path, "v1-ann.json")["reads as"] == {"total": 300, "name": "ann"}
    with pytest.raises(AssertionError, match=r"v1-ann.json reads as something else than before \(changed: total\)"):
        check_stored_samples(Other, tmp_path, {})


class Shop(Grain):
    """A grain that a state refers to."""


@dataclass
class WithReference:
    shop: Shop | None = None


def test_a_sample_may_hold_a_reference(tmp_path: Path) -> None:
    (tmp_path / "v1-seen.json").write_text(
        '{"version": 1, "stored": {"shop": "shop/ulm"}, "reads as": {"shop": "shop/ulm"}}'
    )
    check_stored_samples(WithReference, tmp_path, {})


def test_each_version_needs_a_sample(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="no sample is of version 1; write one with the release that stores this"):
        check_stored_samples(Second, tmp_path, {"ann": Second("ann", 3)}, write=True)


def test_a_file_that_is_no_sample_is_named(tmp_path: Path) -> None:
    (tmp_path / "v1-ann.json").write_text("{}")
    with pytest.raises(AssertionError, match=r"v1-ann.json is no sample: .* missing required field `version`"):
        check_stored_samples(First, tmp_path, {})
