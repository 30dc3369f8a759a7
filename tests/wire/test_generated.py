"""The committed generated code matches the committed contract."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "grange/proto"
COMMITTED = SOURCE / "_generated"


@pytest.mark.parametrize("name", ["silo_pb2.py", "silo_pb2.pyi"])
def test_generated_code_matches_its_source(tmp_path: Path, name: str) -> None:
    pytest.importorskip("grpc_tools", reason="the compiler is a tool of developers: requirements/dev.txt")
    arguments = ["-I", str(SOURCE), f"--python_out={tmp_path}", f"--pyi_out={tmp_path}", "grange/v1/silo.proto"]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *arguments], check=True, cwd=ROOT)
    made, kept = (folder / "grange/v1" / name for folder in (tmp_path, COMMITTED))
    assert without_version(made.read_text(encoding="utf-8")) == without_version(kept.read_text(encoding="utf-8"))


def without_version(text: str) -> str:
    """Drop the compiler's version: a newer compiler alone is no reason to generate the code again."""
    text = re.sub(r"# Protobuf Python Version: .*", "", text)
    return re.sub(r"ValidateProtobufRuntimeVersion\([^)]*\)", "", text)


def test_only_the_codec_imports_generated_code() -> None:
    importers = [
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "grange").rglob("*.py")
        if COMMITTED not in path.parents and "_generated" in path.read_text(encoding="utf-8")
    ]
    assert importers == ["grange/proto/codec.py"]
