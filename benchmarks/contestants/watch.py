"""Sees where the processor time of this process goes, or counts its Python calls, by file and function.

Time: a timer interrupts the process after each millisecond of its processor time (all threads), or, if the kernel's
clock ticks less often, at each tick, and the interrupted function is noted. Time inside a C function counts for the
Python function that called it. Code outside this tree counts for the function of this tree that called it; what no
such function called, such as the event loop and the threads of gRPC, is noted as `""`. Calls: `sys.setprofile` sees
each call of a Python function and each resumption of a coroutine in the main thread.
"""

import signal
import sys
from collections import Counter
from pathlib import Path
from types import FrameType

_ROOT = Path(__file__).resolve().parents[2]
_OURS = (f"{_ROOT}/grange/", f"{_ROOT}/benchmarks/contestants/")
_BEFORE = len(f"{_ROOT}/")
_AROUND_THE_LOOP = frozenset({"main", "<module>"})  # of a contestant: these frames wait for the event loop to end
_INTERVAL = 0.001

Seen = list[tuple[str, str, int]]


class Watch:
    """Watches this process between `start` and `stop`; used by its main thread."""

    def __init__(self) -> None:
        self._seen: Counter[tuple[str, str]] = Counter()

    def start(self, how: str) -> None:
        """Begin: `time` or `calls`."""
        self._seen.clear()
        if how == "calls":
            sys.setprofile(self._called)
            return
        signal.signal(signal.SIGPROF, self._interrupted)
        signal.setitimer(signal.ITIMER_PROF, _INTERVAL, _INTERVAL)

    def stop(self) -> Seen:
        """End, and return file, function and number of interrupts or calls, the most frequent first."""
        sys.setprofile(None)
        signal.setitimer(signal.ITIMER_PROF, 0)
        return [(file, function, times) for (file, function), times in self._seen.most_common()]

    def _called(self, frame: FrameType, event: str, argument: object) -> None:
        if event == "call":
            self._seen[place_of(frame)] += 1

    def _interrupted(self, number: int, frame: FrameType | None) -> None:
        self._seen[place_of(frame)] += 1


def place_of(frame: FrameType | None) -> tuple[str, str]:
    """Return file and function of the innermost frame of this tree; empty without one."""
    while frame is not None:
        file, function = frame.f_code.co_filename, frame.f_code.co_qualname
        if file.startswith(_OURS) and function not in _AROUND_THE_LOOP:
            return file[_BEFORE:], function
        frame = frame.f_back
    return "", ""
