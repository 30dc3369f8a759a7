"""S12: the wheel carries a bill of materials that is the runtime lock, and the notices of third parties."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from scripts.check_locks import pins
from scripts.sbom import LOCK, SBOM, licence, sbom
from tests.architecture.sources import ROOT


def document() -> dict[str, Any]:
    return json.loads(SBOM.read_text("utf-8"))


def test_it_is_made_from_the_lock() -> None:
    """The same bytes each time, on every Python: no time, no chance."""
    assert SBOM.read_text("utf-8") == sbom(), "run: make sbom"


def test_it_names_every_locked_package_and_no_other() -> None:
    locked = {name: str(version) for name, version in pins(LOCK.read_text()).items()}
    assert {each["name"]: each["version"] for each in document()["components"]} == locked


def test_it_is_valid_cyclonedx() -> None:
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(SBOM.read_text("utf-8")) is None


def test_it_has_no_time_no_serial_number_and_no_address() -> None:
    text = SBOM.read_text("utf-8")
    assert not {"serialNumber", "$schema"} & document().keys()
    assert document()["metadata"].keys() == {"component"}
    assert "://" not in text


def test_each_package_is_needed_by_another_or_by_grange() -> None:
    needs = {each["ref"]: each["dependsOn"] for each in document()["dependencies"]}
    reached, waiting = set[str](), ["grange"]
    while waiting:
        ref = waiting.pop()
        if ref not in reached:
            reached.add(ref)
            waiting += needs[ref]
    conditional = {each["bom-ref"] for each in document()["components"] if each.get("scope") == "optional"}
    assert needs.keys() - reached <= conditional
    assert reached <= needs.keys()


def test_a_package_without_a_licence_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.sbom.metadata", lambda name: {"License": "see the file"})
    with pytest.raises(ValueError, match="add it to KNOWN"):
        licence("grpcio")


def test_the_wheel_carries_it(tmp_path: Path) -> None:
    """PEP 770; the notices beside the licence: PEP 639."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        (carried,) = (name for name in packed.namelist() if ".dist-info/sboms/" in name)
        assert packed.read(carried) == SBOM.read_bytes()
        assert carried.endswith(".dist-info/sboms/grange.cdx.json")
        licences = {Path(name).name for name in packed.namelist() if ".dist-info/licenses/" in name}
    assert licences == {"LICENSE", "THIRD_PARTY_NOTICES.md"}
