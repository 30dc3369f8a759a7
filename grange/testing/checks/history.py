"""The history of a test's calls: one event when a call is made and one when it ends, each a JSON line.

The kinds follow Jepsen's histories. A call that returned is `ok`; a call that certainly did not run is `fail`; any
other call is `unknown`, and may take effect at any later time, or never.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, TextIO

import msgspec

from grange.errors import CallNotExecuted

Ending = Literal["ok", "fail", "unknown"]
Kind = Literal["invoke", "ok", "fail", "unknown"]


class Event(msgspec.Struct, frozen=True):
    """The beginning or the end of one call. `(client, call)` identifies the call in both events.

    `t` is monotonic time in seconds, comparable within a history. `op` is the operation, `key` the key of the grain.
    `value` is the argument in an `invoke` and the result in an `ok`; `error` is the exception class in other endings.
    """

    t: float
    client: str
    call: int
    kind: Kind
    op: str
    key: str
    value: Any = None
    error: str = ""


class Violation(msgspec.Struct, frozen=True):
    """One violation: the invariant (`I1` …), the key concerned, and a description."""

    invariant: str
    key: str
    text: str

    def __str__(self) -> str:
        return f"{self.invariant} {self.key}: {self.text}"


class Operation(msgspec.Struct, frozen=True):
    """One call: its `invoke` and its ending. A call without an ending is `unknown` and ends at infinity."""

    invoke: Event
    end: Event | None

    @property
    def kind(self) -> Ending:
        """The outcome of the call; unknown if the history holds no end of it."""
        return "unknown" if self.end is None or self.end.kind == "invoke" else self.end.kind


class Recorder:
    """Records a history in a list (`events`) and, if given, in an open file, one JSON line per event, flushed at once.

    The clients of a test call it: `call = recorder.invoke(...)`, then `ok`, or `failed` with the exception. `now`
    returns the time in seconds: usually `time.monotonic`, in virtual time the loop's time.
    """

    def __init__(self, now: Callable[[], float], file: TextIO | None = None) -> None:
        self._now = now
        self._file = file
        self._calls: dict[str, int] = {}
        self.events: list[Event] = []

    def invoke(self, client: str, op: str, key: str, value: Any = None) -> Event:
        """Record that a call is about to be made. Pass the returned event to `ok` or `failed`."""
        call = self._calls[client] = self._calls.get(client, 0) + 1
        return self._write(Event(self._now(), client, call, "invoke", op, key, value))

    def ok(self, invoke: Event, value: Any = None) -> Event:
        """Record that the call returned `value`."""
        return self._write(msgspec.structs.replace(invoke, t=self._now(), kind="ok", value=value))

    def failed(self, invoke: Event, error: BaseException) -> Event:
        """Record that the call raised. Only after `CallNotExecuted` is it certain that the call had no effect."""
        kind: Kind = "fail" if isinstance(error, CallNotExecuted) else "unknown"
        ended = msgspec.structs.replace(invoke, t=self._now(), kind=kind, value=None, error=type(error).__name__)
        return self._write(ended)

    def _write(self, event: Event) -> Event:
        self.events.append(event)
        if self._file is not None:
            self._file.write(msgspec.json.encode(event).decode() + "\n")
            self._file.flush()  # a killed recorder must not lose an event
        return event


def load(path: Path) -> list[Event]:
    """Read a history from a file. An incomplete last line, as after a kill, is skipped; any other bad line raises."""
    lines = path.read_bytes().split(b"\n")
    return [msgspec.json.decode(line, type=Event) for line in lines[:-1] if line]


def operations(history: Iterable[Event]) -> Iterator[Operation]:
    """Yield the calls of a history in the order in which they were made.

    Raises ValueError for an ending without an `invoke`, and for a call that was made twice or ended twice.
    """
    events = list(history)
    ends: dict[tuple[str, int], Event] = {}
    made: set[tuple[str, int]] = set()
    for event in events:
        name = (event.client, event.call)
        if event.kind == "invoke":
            if name in made:
                raise ValueError(f"call {event.call} of {event.client} was made twice")
            made.add(name)
        elif name not in made or name in ends:
            raise ValueError(f"call {event.call} of {event.client} ended although it was not in progress")
        else:
            ends[name] = event
    for event in events:
        if event.kind == "invoke":
            yield Operation(event, ends.get((event.client, event.call)))
