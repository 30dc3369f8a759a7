"""Questions about what happened in one silo: events, log lines and traces. System targets and messages. Pure.

Each silo keeps a ring of the newest of each. A reader asks for those after the number that it has seen.
"""

from __future__ import annotations

import msgspec

from grange.proto.ids import SiloAddress

EVENTS = "management.events"
LOGS = "management.logs"
TRACES = "management.traces"
TRACE = "management.trace"
"""Names of system targets. They are on the wire."""


MAX_ROWS = 500
"""Most rows in one answer."""


class After(msgspec.Struct, frozen=True):
    """Question: at most `limit` entries numbered after `number`, the oldest first. Numbers begin at 1 with the silo.

    A negative number -n asks for the newest n, so a reader that begins with the present asks for those after -200.
    """

    number: int = 0
    limit: int = 200


class EventRow(msgspec.Struct, frozen=True):
    """One event: its number, the time in Unix seconds, its name in the catalogue, a sentence, and its facts."""

    number: int
    time: float
    name: str
    text: str
    facts: dict[str, str | int | float | bool]


class Events(msgspec.Struct, frozen=True):
    """Answer to `EVENTS`. `lost`: entries after the number asked for that the ring has dropped.

    `last`: the number to ask after next. `counts`: all events since the start by name, also those that were so many
    that the rate limit left them out.
    """

    address: SiloAddress
    rows: tuple[EventRow, ...]
    last: int
    lost: int = 0
    counts: dict[str, int] = {}


class ReadLogs(msgspec.Struct, frozen=True):
    """Question: lines numbered after `number` of at least `level` (as `logging` counts), that match what is given.

    The numbers are as in `After`; -n asks for the newest n that match. `contains` looks at the text and the error.
    """

    number: int = 0
    limit: int = 200
    level: int = 20
    contains: str = ""
    grain_type: str = ""
    trace: str = ""
    event: str = ""


class LogRow(msgspec.Struct, frozen=True):
    """One log line. `facts` are its extra fields; `error` the traceback, if any."""

    number: int
    time: float
    level: int
    logger: str
    text: str
    event: str = ""
    trace: str = ""
    facts: dict[str, str] = {}
    error: str = ""


class Logs(msgspec.Struct, frozen=True):
    """Answer to `LOGS`. `last`: the number to ask after next; newer lines did not match, or `limit` ended the search.

    `lost`: lines after the number asked for that the ring has dropped, whether they match or not. `kept`: False if this
    silo keeps no lines (its option `keep_logs`). `counts`: all lines by level, also those that the rate limit left out.
    """

    address: SiloAddress
    rows: tuple[LogRow, ...]
    last: int
    lost: int = 0
    kept: bool = True
    counts: dict[str, int] = {}


class SpanRow(msgspec.Struct, frozen=True):
    """One span: times in Unix seconds; `wait` is the part that it waited in a mailbox, in seconds.

    `kind` is "client", "server", "activation", "directory", "storage" or "timer". `error` is a type name or empty.
    """

    trace: str
    span: str
    parent: str
    kind: str
    name: str
    start: float
    seconds: float
    wait: float = 0.0
    error: str = ""
    facts: dict[str, str | int | float | bool] = {}


class RootRow(msgspec.Struct, frozen=True):
    """One trace in a list: its first span in this silo, why it was kept ("error", "slow" or "sample"), its number."""

    span: SpanRow
    kept: str
    number: int = 0


class Traces(msgspec.Struct, frozen=True):
    """Answer to `TRACES` (question: `After`), the newest first; and to `TRACE` (question: a trace id), in `spans`.

    The trace id is 32 hexadecimal digits, as MessagePack text. `sampling`: the share (0 to 1) of traces that begin in
    this silo and are sampled. `on`: whether it traces at all; if not, nothing is kept.
    """

    address: SiloAddress
    roots: tuple[RootRow, ...] = ()
    spans: tuple[SpanRow, ...] = ()
    sampling: float = 0.0
    on: bool = False
