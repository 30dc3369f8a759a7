"""Records of silos on this machine: they count while the silo runs, and only if other users cannot write them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from grange.local_records import data_folder_of, recorded_gateway

HOLD = """
import sys
from pathlib import Path
from grange.local_records import recorded_gateway
with recorded_gateway("127.0.0.1:30000", Path("data"), Path(sys.argv[1])):
    print("recorded", flush=True)
    sys.stdin.read()
"""


def test_a_record_counts_while_its_silo_runs(tmp_path: Path) -> None:
    records = tmp_path / "records"
    with recorded_gateway("127.0.0.1:30000", tmp_path / "data", records):
        assert data_folder_of("127.0.0.1:30000", records) == tmp_path / "data"
        assert data_folder_of("127.0.0.1:30001", records) is None
    assert data_folder_of("127.0.0.1:30000", records) is None
    assert list(records.iterdir()) == []


@pytest.mark.parametrize(
    ("listens", "asked"),
    [
        ("[::1]:30000", "[::1]:30000"),
        ("0.0.0.0:30000", "127.0.0.1:30000"),
        ("[::]:30000", "[::1]:30000"),
        ("127.0.0.1:30000", "localhost:30000"),
        ("localhost:30000", "127.0.0.1:30000"),
    ],
)
def test_every_name_of_this_machine_finds_the_record(tmp_path: Path, listens: str, asked: str) -> None:
    with recorded_gateway(listens, tmp_path, tmp_path / "records"):
        assert data_folder_of(asked, tmp_path / "records") == tmp_path


@pytest.mark.parametrize(
    ("listens", "asked"),
    [
        ("10.0.0.5:30000", "10.0.0.5:30000"),
        ("127.0.0.1:30000", "[::1]:30000"),
        ("0.0.0.0:30000", "[::1]:30000"),
        ("127.0.0.10:30000", "127.0.0.1:30000"),
        ("127.0.0.1:30000", "127.0.0.1:3000"),
        ("127.0.0.1:30000", "127.0.0.1"),
    ],
)
def test_a_gateway_at_which_another_program_may_listen_has_no_record(tmp_path: Path, listens: str, asked: str) -> None:
    with recorded_gateway(listens, tmp_path, tmp_path / "records"):
        assert data_folder_of(asked, tmp_path / "records") is None


@pytest.mark.processes
def test_a_killed_silo_has_no_record_and_leaves_no_file(tmp_path: Path) -> None:
    records = tmp_path / "records"
    command = [sys.executable, "-c", HOLD, str(records)]
    with subprocess.Popen(command, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as silo:
        assert silo.stdout is not None
        assert silo.stdout.readline() == "recorded\n"
        assert data_folder_of("127.0.0.1:30000", records) == tmp_path / "data"
        silo.kill()
    assert data_folder_of("127.0.0.1:30000", records) is None
    with recorded_gateway("127.0.0.1:30001", tmp_path, records):
        assert [each.name.partition("~")[0] for each in records.iterdir()] == ["127.0.0.1:30001"]


def test_two_silos_at_one_gateway_leave_it_open_which_one_answers(tmp_path: Path) -> None:
    """Network namespaces share the folder of the records."""
    records, gateway = tmp_path / "records", "127.0.0.1:30000"
    with recorded_gateway(gateway, tmp_path / "first", records):
        with recorded_gateway(gateway, tmp_path / "second", records):
            assert data_folder_of(gateway, records) is None
        assert data_folder_of(gateway, records) == tmp_path / "first"


def test_a_start_removes_no_record_of_a_running_silo(tmp_path: Path) -> None:
    records = tmp_path / "records"
    with recorded_gateway("127.0.0.1:30000", tmp_path / "first", records):
        with recorded_gateway("127.0.0.1:30001", tmp_path / "second", records):
            pass
        assert data_folder_of("127.0.0.1:30000", records) == tmp_path / "first"


def test_a_folder_that_other_users_can_write_is_not_used(tmp_path: Path) -> None:
    records = tmp_path / "records"
    with recorded_gateway("127.0.0.1:30000", tmp_path, records):
        records.chmod(0o777)
        assert data_folder_of("127.0.0.1:30000", records) is None
        before = list(records.iterdir())
        with recorded_gateway("127.0.0.1:30001", tmp_path, records):
            assert list(records.iterdir()) == before


def test_the_folder_is_that_of_the_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with recorded_gateway("127.0.0.1:30000", tmp_path):
        assert [each.name.partition("~")[0] for each in (tmp_path / "grange").iterdir()] == ["127.0.0.1:30000"]
        assert data_folder_of("127.0.0.1:30000") == tmp_path
