"""What a test records of its calls: one event when a call is made and one when it ends, a JSON line each.

After Jepsen's histories: what ended is `ok`, what certainly did not run is `fail`, all else is `unknown` and may take
effect at any later time, or never.
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
    """One moment of one call. `(client, call)` names the call; its `invoke` and its ending share it.

    `t` is monotonic time in seconds, comparable within a history. `op` and `key` say what was asked of whom. `value` is
    the argument in an `invoke` and the result in an `ok`; `error` the class of the exception in the other endings.
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
    """One thing that must not be: which invariant (`I1` …), about which key, and what was seen."""

    invariant: str
    key: str
    text: str

    def __str__(self) -> str:
        return f"{self.invariant} {self.key}: {self.text}"


class Operation(msgspec.Struct, frozen=True):
    """One whole call: its `invoke` joined with its ending. One that never ended is `unknown` and ends at infinity."""

    invoke: Event
    end: Event | None

    @property
    def kind(self) -> Ending:
        """How it ended, as far as anybody knows."""
        return "unknown" if self.end is None or self.end.kind == "invoke" else self.end.kind


class Recorder:
    """Writes a history down, to a list (`events`) and, if given, to an open file, one JSON line at once for each event.

    Called by the clients of a test: `call = recorder.invoke(...)`, then `ok`, or `failed` with the exception. `now` is
    the time in seconds, in processes usually `time.monotonic`, in virtual time the loop's.
    """

    def __init__(self, now: Callable[[], float], file: TextIO | None = None) -> None:
        self._now = now
        self._file = file
        self._calls: dict[str, int] = {}
        self.events: list[Event] = []

    def invoke(self, client: str, op: str, key: str, value: Any = None) -> Event:
        """A call is about to be made; give what this returns to the ending."""
        call = self._calls[client] = self._calls.get(client, 0) + 1
        return self._write(Event(self._now(), client, call, "invoke", op, key, value))

    def ok(self, invoke: Event, value: Any = None) -> Event:
        """The call returned `value`."""
        return self._write(msgspec.structs.replace(invoke, t=self._now(), kind="ok", value=value))

    def failed(self, invoke: Event, error: BaseException) -> Event:
        """The call raised. Only `CallNotExecuted` is certain: whatever else it was, its effect may have been stored."""
        kind: Kind = "fail" if isinstance(error, CallNotExecuted) else "unknown"
        ended = msgspec.structs.replace(invoke, t=self._now(), kind=kind, value=None, error=type(error).__name__)
        return self._write(ended)

    def _write(self, event: Event) -> Event:
        self.events.append(event)
        if self._file is not None:
            self._file.write(msgspec.json.encode(event).decode() + "\n")
            self._file.flush()  # a recorder that is killed has lost nothing
        return event


def load(path: Path) -> list[Event]:
    """The history in a file. A last line that was cut off, as by a kill, is left out; any other bad line raises."""
    lines = path.read_bytes().split(b"\n")
    return [msgspec.json.decode(line, type=Event) for line in lines[:-1] if line]


def operations(history: Iterable[Event]) -> Iterator[Operation]:
    """The calls of a history in the order in which they were made.

    Raises ValueError for an ending without its `invoke`, and for a call that was made or that ended twice.
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
            raise ValueError(f"call {event.call} of {event.client} ended without being under way")
        else:
            ends[name] = event
    for event in events:
        if event.kind == "invoke":
            yield Operation(event, ends.get((event.client, event.call)))
