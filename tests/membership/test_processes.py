"""The processes of this host, as the rows of the membership table name them. Real processes."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from grange.membership.detection.processes import (
    LinuxProcesses,
    NoProcesses,
    Processes,
    is_same_host,
    processes_of_this_host,
)
from grange.silo.config import SiloConfig
from grange.silo.environment import ConfiguredEnvironment
from tests.membership.cluster import address, member

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="there is no /proc of Linux")

OTHER = """
import sys
from grange.membership.detection.processes import processes_of_this_host
print(processes_of_this_host().own, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def here() -> Processes:
    return processes_of_this_host()


@pytest.fixture
def other() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Another process on this host, and its name."""
    with subprocess.Popen([sys.executable, "-c", OTHER], stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
        process.kill()


def test_a_process_that_runs_is_not_gone(here: Processes, other: tuple[subprocess.Popen[str], str]) -> None:
    _, name = other
    assert not here.is_gone(here.own)
    assert not here.is_gone(name)


def test_a_stopped_process_is_not_gone(here: Processes, other: tuple[subprocess.Popen[str], str]) -> None:
    """It may continue."""
    process, name = other
    process.send_signal(signal.SIGSTOP)
    assert not here.is_gone(name)


def test_a_killed_process_is_gone_before_and_after_its_parent_has_read_its_exit_code(
    here: Processes, other: tuple[subprocess.Popen[str], str]
) -> None:
    process, name = other
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert here.is_gone(name)
    process.wait()
    assert here.is_gone(name)


def test_a_later_process_with_its_id_does_not_hide_its_end(here: Processes) -> None:
    machine, pid, start = here.own.split(" ")
    assert here.is_gone(f"{machine} {pid} {int(start) - 1}")


@pytest.mark.parametrize("name", ["", "machine", "machine x 1", "machine -1 1", "a b c d"])
def test_a_name_that_this_platform_does_not_know_says_nothing(here: Processes, name: str) -> None:
    assert not here.is_gone(name)


@pytest.mark.parametrize("end", ["1 started", "1 ", "1 -1", "99999999999999999999 1", "9" * 5000 + " 1", "\u0663 1"])
def test_a_name_that_is_not_of_two_numbers_says_nothing(here: Processes, end: str) -> None:
    """A row is written by another process: what it says must neither raise an error nor be taken for a proof."""
    machine = here.own.split(" ")[0]
    assert not here.is_gone(f"{machine} {end}")


def test_a_proc_of_another_namespace_of_processes_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`unshare --pid --fork` without a mount of its own /proc: its process ids are those of other processes."""
    for name in ("sys", str(os.getpid())):
        (tmp_path / name).symlink_to(Path("/proc") / name)
    (tmp_path / "4711").symlink_to("/proc/self")
    (tmp_path / "self").symlink_to("4711")
    monkeypatch.setattr("grange.membership.detection.processes.PROC", tmp_path)
    assert processes_of_this_host().own == ""


def test_a_silo_in_another_namespace_of_time_is_on_another_machine(here: Processes) -> None:
    """It sees other start times, and would take every living process for a later one."""
    inside = ["unshare", "--time", "--boottime", "1000", "--fork", sys.executable, "-c", OTHER]
    ended = subprocess.run(inside, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if ended.returncode:
        pytest.skip(f"no namespace of time can be made here: {ended.stderr}")
    one, other = (replace(member(address(1)), process=name) for name in (here.own, ended.stdout.strip()))
    assert other.process
    assert not is_same_host(one, other)


def test_a_zombie_whose_threads_cannot_be_counted_is_not_gone(
    here: Processes, other: tuple[subprocess.Popen[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread may run: this process has too many open files to look."""
    process, name = other
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

    def too_many(_: Path) -> Iterator[Path]:
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(Path, "iterdir", too_many)
    assert not here.is_gone(name)


def test_a_process_that_proc_hides_is_not_gone(here: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `hidepid`, /proc hides the processes of other users."""
    monkeypatch.setattr("grange.membership.detection.processes._stat", lambda _: [])
    assert not here.is_gone(here.own)


def test_without_proc_no_process_is_gone(monkeypatch: pytest.MonkeyPatch, tmp_path: os.PathLike[str]) -> None:
    monkeypatch.setattr("grange.membership.detection.processes.PROC", tmp_path)
    found = processes_of_this_host()
    assert isinstance(found, NoProcesses)
    assert found.own == ""
    assert not found.is_gone("machine 1 1")


def test_silos_share_a_host_only_by_machine_and_address() -> None:
    one = replace(member(address(1)), process="machine 1 1")
    assert is_same_host(one, replace(member(address(2)), process="machine 2 5"))
    assert not is_same_host(one, replace(member(address(2)), process="another 2 5"))
    assert not is_same_host(one, replace(member(address(2, host="elsewhere")), process="machine 2 5"))
    for unknown in ("", None):
        assert not is_same_host(replace(one, process=unknown), replace(member(address(2)), process=unknown))


def test_the_own_name_says_machine_process_and_start(here: Processes) -> None:
    assert isinstance(here, LinuxProcesses)
    machine, pid, start = here.own.split(" ")
    assert machine.split("/")[1:] == [str(os.stat(f"/proc/self/ns/{kind}").st_ino) for kind in ("pid", "net", "time")]
    assert int(pid) == os.getpid()
    assert start.isdecimal()


def test_a_silo_writes_the_process_in_which_it_runs(here: Processes) -> None:
    assert ConfiguredEnvironment(SiloConfig()).processes().own == here.own
