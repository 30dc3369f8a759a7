"""Whether the process of another silo on this host is gone. The end of a process is proof: it can run no more turns.

A row names the process of its silo by machine, process id and start time. Only a silo that sees the same processes may
look: on the same boot of the same machine, in the same namespaces of processes, network and time (each namespace of
time shows start times of its own).
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Protocol

from grange.membership.model.member import Member

PROC = Path("/proc")

PARTS = 3
"""The words that name a process: its machine, its process id and its start time."""

NUMBER = re.compile("[0-9]{1,20}")
"""A process id or a start time."""

START_TIME = 19
"""The place of the start time in /proc/PID/stat, counted from the state, which follows the name (proc(5))."""

MANY = 2
"""The threads of a process about which nothing is known."""

ENDED = frozenset("ZX")
"""The states of a process whose program has ended: a zombie, and one that is being removed."""


class Processes(Protocol):
    """The processes that one silo can see. `silo/environment.py` makes it."""

    @property
    def own(self) -> str:
        """The process of this silo, for its row; empty: this platform cannot tell."""
        ...

    def is_gone(self, process: str) -> bool:
        """Whether this process, named by the row of a silo on the same host, has certainly ended. Never raises."""
        ...


class NoProcesses:
    """For platforms that cannot tell: no process is known to be gone."""

    own = ""

    def is_gone(self, process: str) -> bool:
        """See `Processes`."""
        return False


class LinuxProcesses:
    """The processes in /proc, as this process sees them. Made by `processes_of_this_host`."""

    def __init__(self, machine: str) -> None:
        pid = os.getpid()
        self.own = f"{machine} {pid} {_start_of(_stat(pid))}"

    def is_gone(self, process: str) -> bool:
        """See `Processes`. A process id that belongs to a later process is one of a process that has ended."""
        parts = process.split(" ")
        if len(parts) != PARTS or not all(NUMBER.fullmatch(part) for part in parts[1:]):
            return False  # another platform wrote it
        pid, start = int(parts[1]), parts[2]
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        except (OSError, OverflowError):
            pass  # it is there, and belongs to another user; or no process has such an id
        stat = _stat(pid)
        if not stat:  # it has just ended, or /proc hides the processes of other users (hidepid)
            return False
        return _start_of(stat) != start or (stat[0] in ENDED and _threads(pid) <= 1)


def processes_of_this_host() -> Processes:
    """The processes of this host; `NoProcesses` where there is no /proc of Linux, or one of another namespace."""
    try:
        if (PROC / "self").readlink().name != str(os.getpid()):
            return NoProcesses()  # it shows other processes: those of the host, with other process ids
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
        found = LinuxProcesses("/".join((boot, *(_namespace(kind) for kind in ("pid", "net", "time")))))
    except OSError:
        return NoProcesses()
    return found if not found.is_gone(found.own) and not found.own.endswith(" ") else NoProcesses()


def is_same_host(one: Member, other: Member) -> bool:
    """Whether the process of one silo can be seen by the other: they have one address, and one machine.

    Neither alone is enough: machines that were restored from one snapshot of memory share the boot id, and an address
    may be reused.
    """
    machine = _machine(one)
    return bool(machine) and machine == _machine(other) and one.address.host == other.address.host


def _machine(member: Member) -> str:
    return (member.process or "").partition(" ")[0]


def _namespace(kind: str) -> str:
    """The number of a namespace of this process; empty if this kernel has none of its kind (time: before Linux 5.6)."""
    place = PROC / "self/ns" / kind
    return place.readlink().name.strip(f"{kind}:[]") if place.is_symlink() else ""


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on; empty if it cannot be read."""
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def _start_of(stat: list[str]) -> str:
    return stat[START_TIME] if len(stat) > START_TIME else ""


def _threads(pid: int) -> int:
    """The threads of a process, which may run although its main thread has ended."""
    try:
        return len(list((PROC / str(pid) / "task").iterdir()))
    except FileNotFoundError:
        return 0
    except OSError:
        return MANY
