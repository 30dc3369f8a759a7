"""Questions about the activations of one silo and what stands behind them: system targets and messages. Pure.

`silo/inspection.py` answers them; the command line and the dashboard ask. Lists have a limit, a budget and a cursor.
"""

from __future__ import annotations

import msgspec

from grange.proto.ids import GrainId, SiloAddress

FIGURES = "management.figures"
FIND = "management.activations"
DETAIL = "management.activation"
STATE = "management.state"
SCHEMA = "management.schema"
DOUBTS = "management.doubts"
TASKS = "management.tasks"
SETUP = "management.setup"
STORES = "management.stores"
REMINDERS = "management.reminders"
"""Names of system targets. They are on the wire. The answer to `FIGURES` is `observability.snapshot.Snapshot`."""

MAX_ROWS = 200
"""Most rows in one answer to `FIND`."""


class FindActivations(msgspec.Struct, frozen=True):
    """Question: the activations that match all that is given here. Times are in seconds; 0 or empty matches all.

    `prefix` and `contains` are about the key. `min_turn`: the running turn has lasted so long. `sort` is one of "key",
    "age", "idle", "waiting", "turn"; "key" rises, the others fall. `cursor` is `FoundActivations.cursor` of the page
    before; empty: the first page.
    """

    type: str = ""
    prefix: str = ""
    contains: str = ""
    phase: str = ""
    min_age: float = 0.0
    min_idle: float = 0.0
    min_waiting: int = 0
    min_turn: float = 0.0
    sort: str = "key"
    limit: int = 50
    cursor: str = ""


class ActivationRow(msgspec.Struct, frozen=True):
    """One activation in a list. `age`, `idle` and `turn` (the longest running one; 0: none) are in seconds."""

    grain_id: GrainId
    phase: str
    age: float
    idle: float
    waiting: int
    running: int
    turn: float


class FoundActivations(msgspec.Struct, frozen=True):
    """Answer: the best rows of one silo, in order.

    `matches` counts all that matched among the `looked_at` of `total` activations. `cut`: the budget ended the search
    before the end. `cursor` continues after the last row; empty: there are no more.
    """

    address: SiloAddress
    rows: tuple[ActivationRow, ...]
    matches: int
    looked_at: int
    total: int
    cut: bool = False
    cursor: str = ""


class RequestRow(msgspec.Struct, frozen=True):
    """One request that waits or runs: since how many seconds, and how many its caller still waits (-1: no limit).

    `caller` names the peer that sent it, or "this silo"; `identity` is for whom, such as "user:ann via grain:cart", and
    empty if that is not known. `stack` holds the frames of a running turn, innermost last.
    `awaits`: the calls that its turn waits for, as "type/key.method".
    """

    method: str
    caller: str
    seconds: float
    left: float
    stack: tuple[str, ...] = ()
    trace: str = ""
    awaits: tuple[str, ...] = ()
    identity: str = ""


class TimerRow(msgspec.Struct, frozen=True):
    """One timer of an activation: its callback's name, its period (-1: it fires once), seconds until it is due."""

    name: str
    period: float
    due: float


class StateRow(msgspec.Struct, frozen=True):
    """One persistent state of an activation, as stored: `json` is redacted, and cut at 64 KiB if `cut`."""

    name: str
    provider: str
    etag: str
    size: int
    json: str
    loaded: bool
    cut: bool = False


class ActivationDetail(msgspec.Struct, frozen=True):
    """Answer to `DETAIL`, whose question is a GrainId: one activation of this silo.

    `view`: the membership version in which it claimed its grain. `placement`: the strategy that chose this silo.
    `registered`: the address that the grain directory holds; empty if it holds none. `calls` and `errors` are recent
    ones, kept only while it is watched: texts with the newest first. `ending`: why it ends; empty if it does not.
    """

    address: SiloAddress
    row: ActivationRow
    activation_id: str
    view: int
    placement: str
    registered: str
    waiting: tuple[RequestRow, ...]
    running: tuple[RequestRow, ...]
    timers: tuple[TimerRow, ...]
    states: tuple[str, ...]
    calls: tuple[CallRow, ...] = ()
    ending: str = ""


class CallRow(msgspec.Struct, frozen=True):
    """One call that ended: its method, seconds ago, seconds of wait and turn, and its error ("" if it succeeded)."""

    method: str
    ago: float
    wait: float
    seconds: float
    error: str = ""


class MethodSchema(msgspec.Struct, frozen=True):
    """One method of a grain type: its parameters and result as JSON Schema (texts), and its first line of help."""

    name: str
    parameters: str
    result: str
    help: str = ""
    read_only: bool = False
    one_way: bool = False


class DoubtRow(msgspec.Struct, frozen=True):
    """How one silo sees another: round trip in seconds (-1: unknown), probes missed in a row, its vote in the table.

    `probed`: it probes that silo now. `rtt` is the time of the newest answer to a direct probe. `voted`: its vote that
    the silo is dead stands in the table. `connected`: it has an open connection to the silo.
    """

    silo: SiloAddress
    probed: bool
    rtt: float
    missed: int
    voted: bool
    connected: bool


class FindReminders(msgspec.Struct, frozen=True):
    """Question: the reminders and jobs of a grain; or of the slots of this silo, that are due `within` so many seconds,
    or with `parked` those that failed too often.
    """

    grain_id: GrainId | None = None
    parked: bool = False
    within: float = 300.0
    limit: int = 50


class StoredReminder(msgspec.Struct, frozen=True):
    """One stored reminder or job. Times are seconds of Unix time by the clock of the store.

    `due`: its next delivery; None: it is parked. `scheduled`: the time of its next tick, which `due` is after while it
    is tried again. `schedule` is in words. `failed` attempts of this tick have failed, the last with `error`. `job`:
    the name of a job. `size`: bytes of the payload.
    """

    grain_id: GrainId
    name: str
    due: float | None
    scheduled: float = 0.0
    schedule: str = ""
    missed: str = ""
    failed: int = 0
    error: str = ""
    job: str = ""
    size: int = 0


class FoundReminders(msgspec.Struct, frozen=True):
    """Answer: the first reminders, by due time or by grain and name; `now` is the clock of the store.

    `more`: there are further ones.
    """

    address: SiloAddress
    rows: tuple[StoredReminder, ...]
    now: float
    more: bool = False


class TaskRow(msgspec.Struct, frozen=True):
    """One task of the event loop: its name, the coroutine that it runs, and the lines of its stack, innermost last."""

    name: str
    code: str
    stack: tuple[str, ...] = ()


class Tasks(msgspec.Struct, frozen=True):
    """Answer to `TASKS`: some of the `total` tasks of the silo's event loop."""

    address: SiloAddress
    total: int
    rows: tuple[TaskRow, ...]


class ReadState(msgspec.Struct, frozen=True):
    """Question: the stored states of a grain, or only the one with this `name`."""

    grain_id: GrainId
    name: str = ""


class States(msgspec.Struct, frozen=True):
    """Answer to `STATE`: one row for each persistent state of the grain's type."""

    address: SiloAddress
    rows: tuple[StateRow, ...]


class TypeSchema(msgspec.Struct, frozen=True):
    """Answer to `SCHEMA`, whose question is the name of a grain type: its methods, and its first line of help.

    `options` are those in force in this silo, as text.
    """

    type: str
    help: str
    methods: tuple[MethodSchema, ...]
    options: dict[str, str] = {}


class Doubts(msgspec.Struct, frozen=True):
    """Answer to `DOUBTS` (question: empty): one row for each other silo that is not dead, by address.

    `version` and `incarnation` are those of the membership table as this silo read it last.
    """

    address: SiloAddress
    version: int
    rows: tuple[DoubtRow, ...]
    incarnation: str = ""


class ConnectionRow(msgspec.Struct, frozen=True):
    """One open connection of a silo.

    `kind`: "to silo", "from silo" or "client". `queue`: bytes that are not written yet. `pending`: requests without an
    answer. `quiet`: seconds since the last frame came. `rtt`: seconds of the last probe (-1: not known). `called`:
    calls of grains to observers of this client that have no answer. `identity`: that of its certificate or token, such
    as "user:ann via spiffe://shop/client/web"; empty: none.
    """

    peer: str
    kind: str
    queue: int
    pending: int
    quiet: float
    rtt: float = -1.0
    called: int = 0
    identity: str = ""


class StepRow(msgspec.Struct, frozen=True):
    """One step of the start of a silo, and the seconds that it took."""

    name: str
    seconds: float


class Setup(msgspec.Struct, frozen=True):
    """Answer to `SETUP` (question: empty): the options of a silo as text, without secrets, and its connections.

    `more`: connections of clients for which the answer had no room. `start`: the steps of its start, in order.
    `observers`: those of code in its own process.
    """

    address: SiloAddress
    options: dict[str, str]
    connections: tuple[ConnectionRow, ...]
    more: int = 0
    start: tuple[StepRow, ...] = ()
    observers: int = 0


class StoreRow(msgspec.Struct, frozen=True):
    """One fact about a store: its uses in the silo, its URL without the password, and what was found about a subject.

    `level`: "ok", "warn" (a failure may lose writes or members) or "bad" (it cannot work).
    """

    uses: str
    place: str
    level: str
    subject: str
    found: str
    remedy: str = ""


class Stores(msgspec.Struct, frozen=True):
    """Answer to `STORES` (question: empty): what a silo finds about its stores, at most a minute old."""

    address: SiloAddress
    rows: tuple[StoreRow, ...]
