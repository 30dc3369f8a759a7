"""The processes of a simulation as their hosts see them: a silo can find out whether one on its own host is gone."""

from __future__ import annotations

from grange.testing.simulation.loop import Process


class HostProcesses:
    """All processes that ever ran on the machines of one simulation, by the text that identifies each."""

    def __init__(self) -> None:
        self._processes: dict[str, Process] = {}

    def start(self, host: str, number: int, start: int, process: Process) -> ProcessesSeen:
        """Add a process: its host, its number there, and which start of this number it is. Returns what it sees."""
        own = f"{_machine(host)} {number} {start}"
        self._processes[own] = process
        return ProcessesSeen(own, self._processes)


class ProcessesSeen:
    """What one process of a simulation knows of the processes of its host. `own` identifies itself."""

    def __init__(self, own: str, processes: dict[str, Process]) -> None:
        self.own = own
        self._processes = processes

    def is_gone(self, process: str) -> bool:
        """Whether this process of the same host has ended. False for one of another host, or one never seen."""
        seen = self._processes.get(process)
        return seen is not None and not seen.alive and _machine_of(process) == _machine_of(self.own)


def _machine(host: str) -> str:
    return f"machine-{host}"


def _machine_of(process: str) -> str:
    return process.partition(" ")[0]
