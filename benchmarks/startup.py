"""How long a start takes: to import, to ask a cluster, to serve. `python -m benchmarks.startup` prints the times.

A time is the least of some runs, because other programs can only delay a start. The processor time beside it hardly
depends on them. The first run of each is not counted: it may write compiled files.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType

ROOT = Path(__file__).parents[1]
ROUNDS = 5
PATIENCE = 60.0
"""Seconds for a process to stop; only a defect takes so long."""

Times = tuple[float, float]
"""Seconds by the clock, and of processor time."""

_TIMED = """
import time
{before}
began = time.perf_counter(), time.process_time()
def ready():
    print(time.perf_counter() - began[0], time.process_time() - began[1])
{timed}
"""
_FREE_PORTS: Mapping[str, str] = MappingProxyType({"GRANGE_PORT": "0", "GRANGE_GATEWAY_PORT": "0", "GRANGE_HTTP": "0"})
_SERVE = """
async def main():
    async with silo:
        ready()
asyncio.run(main())
"""


def program(timed: str, before: str = "") -> Times:
    """Return the times from the end of `before` to the call of `ready()` in `timed`, in a Python of its own."""
    with tempfile.TemporaryDirectory() as folder:
        code = _TIMED.format(before=before, timed=timed)
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=folder, env=_environment(), capture_output=True, text=True, check=True
        )
    clock, processor = done.stdout.split()
    return float(clock), float(processor)


def command(*words: str, ready: str = "") -> Times:
    """Return the seconds until `grange` has printed a line with this text, or has ended; and its processor time.

    A command that is ready is then stopped. Raises RuntimeError if it ends before it is ready.
    """
    with tempfile.TemporaryDirectory() as folder:
        used, began = _used_by_children(), time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "grange", *words],
            cwd=folder,
            env=_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            assert process.stdout is not None
            is_ready = any(ready in line for line in process.stdout if ready)  # to the end if there is no text
            clock = time.perf_counter() - began
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=PATIENCE)
        if ready and not is_ready:
            raise RuntimeError(f"grange {' '.join(words)} ended before it was ready")
        return clock, _used_by_children() - used


STARTS: Mapping[str, Callable[[], Times]] = MappingProxyType({
    "import grange": partial(program, "import grange; ready()"),
    "import grange.client": partial(program, "import grange.client; ready()"),
    "import grange.silo": partial(program, "import grange.silo; ready()"),
    "grange --help": partial(command, "--help"),
    "grange silos": partial(command, "silos", "--gateway", "127.0.0.1:1", "--connect-timeout", "0.1"),
    "silo serves": partial(program, _SERVE, "import asyncio; from grange.cli.demo_silo import silo"),
    "grange run": partial(command, "run", "grange.cli.demo_silo:silo", ready="active"),
    "grange dev": partial(command, "dev", ready="Ctrl-C"),
})  # fmt: skip
"""What is started. `grange silos` ends with an error, because nothing listens; the time is that of its start."""

TARGETS: Mapping[str, float] = MappingProxyType({
    "import grange": 0.15, "grange silos": 0.3, "silo serves": 0.5, "grange dev": 2.0
})  # fmt: skip
"""Seconds on an idle machine."""


def measure(rounds: int = ROUNDS) -> dict[str, float]:
    """Return the seconds of each start; a name that ends in "CPU" is processor time of all its processes."""
    measured: dict[str, float] = {}
    for name, once in STARTS.items():
        runs = [once() for _ in range(rounds + 1)][1:]
        measured[name] = min(clock for clock, _ in runs)
        measured[f"{name}, CPU"] = min(processor for _, processor in runs)
    return measured


def _environment() -> dict[str, str]:
    """The environment of the measured processes: this tree, compiled once as an installed package is."""
    compiled = Path(tempfile.gettempdir()) / "grange-benchmarks-compiled"
    own = {name: value for name, value in os.environ.items() if not name.startswith(("GRANGE_", "PYTHON"))}
    return {
        **own,
        "PYTHONPATH": str(ROOT),
        "PYTHONPYCACHEPREFIX": str(compiled),
        "PYTHONUNBUFFERED": "1",
        **_FREE_PORTS,
    }


def _used_by_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Print each start with its times and its target."""
    times = measure()
    print(f"{'start':24}{'seconds':>9}{'CPU':>9}{'target':>9}")
    for name in STARTS:
        target = f"{TARGETS[name]:>9.2f}" if name in TARGETS else ""
        print(f"{name:24}{times[name]:>9.3f}{times[f'{name}, CPU']:>9.3f}{target}")


if __name__ == "__main__":
    main()
