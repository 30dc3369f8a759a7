"""Describes the machine on which the figures were taken, for the comparison of two results."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from benchmarks.processes import ROOT


def describe() -> dict[str, Any]:
    """Return processor, cores, memory, kernel, load and the commit of this tree."""
    return {
        "cpu": cpu_model(_read("/proc/cpuinfo")) or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "memory_mib": total_memory(_read("/proc/meminfo")),
        "system": f"{platform.system()} {platform.release()}",
        "load_average_at_start": round(os.getloadavg()[0], 2),
        "commit": _git("describe", "--always", "--dirty", "--exclude=*"),
    }


def cpu_model(cpuinfo: str) -> str:
    """Return the model name in the text of /proc/cpuinfo, or nothing."""
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return ""


def total_memory(meminfo: str) -> int | None:
    """Return the MiB of memory in the text of /proc/meminfo."""
    for line in meminfo.splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) // 1024
    return None


def _read(path: str) -> str:
    file = Path(path)
    return file.read_text() if file.exists() else ""


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()
