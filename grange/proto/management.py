"""The questions of operators to one silo, and its answers: names of system targets and messages. Pure.

`silo/management.py` and `silo/shutdown.py` answer them; the command line asks them without importing a silo.
"""

from __future__ import annotations

import enum

import msgspec

from grange.proto.ids import SiloAddress

VIEW = "management.view"
STATUS = "management.status"
METHODS = "management.methods"
DRAIN = "management.drain"
REBALANCING = "management.rebalancing"
"""Names of system targets. They are on the wire."""


MOST_WAIT = 30.0
"""Seconds for which a read of the view waits at most: no client asks for longer, and no silo waits longer."""


class ViewQuestion(msgspec.Struct, frozen=True):
    """The body of a waiting read of the view: answer when the view is newer than `version`, or after `seconds`.

    An empty body asks for the view at once. A silo of an earlier release reads no body, and answers at once as well.
    """

    version: int
    seconds: float


class SiloState(msgspec.Struct, frozen=True):
    """The state of one silo: `activations` by grain type, `uptime` in seconds, `requests` in progress from outside.

    `ready`: the silo is active and takes new grains; False while it joins or leaves. `duplicates`, `repaired` and
    `stale` count the findings of this silo's consistency checker since the start (`RepairCounts`). `table` is "ok",
    "unreachable" or "lost". `fenced` is the reason why the silo starts no turns; empty while it starts them.
    `score` is its local health, 0 (healthy) to 8. `withheld` counts its votes that a live connection withheld.
    `plain` are the open connections without TLS that it has accepted.
    """

    address: SiloAddress
    name: str
    version: int
    uptime: float
    activations: dict[str, int]
    requests: int
    ready: bool = True
    duplicates: int = 0
    repaired: int = 0
    stale: int = 0
    table: str = "ok"
    fenced: str = ""
    score: int = 0
    withheld: int = 0
    plain: int = 0


class RebalancingState(msgspec.Struct, frozen=True):
    """The rebalancer of one silo: "running", or why it moves nothing now.

    `suspended`: seconds left. `activations` are those of this silo, `mean` those of all silos that take new grains, and
    `imbalance` the share of the mean by which the fullest one has more. `last_round` moved so many, all rounds together
    `moved`, and `failed` did not move.
    """

    address: SiloAddress
    state: str
    suspended: float
    activations: int
    mean: float
    imbalance: float
    last_round: int
    moved: int
    failed: int


def encode(message: msgspec.Struct | int) -> bytes:
    """Encode a question or an answer for the wire."""
    return msgspec.msgpack.encode(message)


def decode_methods(answer: bytes) -> list[str]:
    """The names of methods in an answer to `METHODS`."""
    return msgspec.msgpack.decode(answer, type=list[str])


class Phase(enum.StrEnum):
    """The progress of a stop; it only moves forward. The values are on the wire and in the output of `grange drain`."""

    SERVING = "serving"
    LEAVING = "leaving"  # the table shows LEAVING: no silo places a grain here any more
    MOVING = "moving"  # idle activations deactivate; running calls complete, then their activations deactivate
    CANCELLING = "cancelling"  # only if calls were still running at the drain time-out
    HANDING_OVER = "handing over"  # the new owners fetch this silo's directory entries
    DISMISSING = "dismissing"  # GOODBYE on every connection
    STOPPED = "stopped"


class DrainState(msgspec.Struct, frozen=True):
    """Progress of a stop: the `activations` and `requests` left in this silo, and the `seconds` since it began."""

    address: SiloAddress
    phase: Phase
    activations: int
    requests: int
    seconds: float
