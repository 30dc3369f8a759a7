"""What silos say to each other about membership: probes, direct and through a third silo, and views after a change.
Pure.

They are questions and answers of system targets (`runtime/system_target.py`) or of the probe line, as MessagePack of
these structs. Fields are added at the end, with defaults; unknown ones are ignored.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from grange.membership.model.member import View
from grange.proto.ids import SiloAddress

PROBE_SERVICE = "membership.probe"
"""Do you answer? Question `Probe`, answer `ProbeReply`."""

PROBE_FOR_SERVICE = "membership.probe_for"
"""Does that silo answer you? Question `IndirectProbeRequest`, answer `IndirectProbeReply`."""

FETCH_SERVICE = "membership.fetch"
"""What is the newest view that you have seen? Question empty, answer `Announcement`."""

VIEW_SERVICE = "membership.view"
"""I have changed the table. Question `Announcement`, answer empty."""


Version = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
"""A version of the table. Bounded, because a forged one must not be the number that a rebuilt table starts above."""


class Probe(msgspec.Struct, frozen=True, array_like=True):
    """Asked of a silo to learn whether it answers.

    `version` is of the asker's view. `mutual` says that `prober` got an answer to the probe before this one: the silo
    that hears it knows that the way back is open, too.
    """

    version: Version
    prober: SiloAddress
    mutual: bool = False


class ProbeReply(msgspec.Struct, frozen=True, array_like=True):
    """`silo` is who really answers: another generation at the same endpoint is not the one asked.

    `version` is of its view, `lag` the seconds that its event loop is behind, `score` its local health (0: well).
    """

    silo: SiloAddress
    version: Version
    lag: float = 0.0
    score: int = 0


class IndirectProbeRequest(msgspec.Struct, frozen=True, array_like=True):
    """Asks a third silo to probe `target` once, within `timeout` seconds. One's own address: can you reach me?"""

    target: SiloAddress
    timeout: float


class IndirectProbeReply(msgspec.Struct, frozen=True, array_like=True):
    """The answer to an `IndirectProbeRequest`: `silo` asked, `reached` says whether the target answered it, `score`
    how well it is itself; a silo with a score above 0 may be the one that is cut off.
    """

    silo: SiloAddress
    reached: bool
    score: int


class Announcement(msgspec.Struct, frozen=True):
    """The view after a change, with the incarnation of the table it was read from."""

    incarnation: str
    view: View


_encoder = msgspec.msgpack.Encoder()
_probes = msgspec.msgpack.Decoder(Probe)
_replies = msgspec.msgpack.Decoder(ProbeReply)
_probes_for = msgspec.msgpack.Decoder(IndirectProbeRequest)
_probed_for = msgspec.msgpack.Decoder(IndirectProbeReply)
_announcements = msgspec.msgpack.Decoder(Announcement)


def encode(message: Probe | ProbeReply | IndirectProbeRequest | IndirectProbeReply | Announcement) -> bytes:
    """The message as bytes."""
    return _encoder.encode(message)


def decode_probe(data: bytes) -> Probe:
    """Raises `msgspec.MsgspecError` (a ValueError) for anything else."""
    return _probes.decode(data)


def decode_reply(data: bytes) -> ProbeReply:
    """Raises `msgspec.MsgspecError` (a ValueError) for anything else."""
    return _replies.decode(data)


def decode_probe_for(data: bytes) -> IndirectProbeRequest:
    """Raises `msgspec.MsgspecError` (a ValueError) for anything else."""
    return _probes_for.decode(data)


def decode_probed_for(data: bytes) -> IndirectProbeReply:
    """Raises `msgspec.MsgspecError` (a ValueError) for anything else."""
    return _probed_for.decode(data)


def decode_announcement(data: bytes) -> Announcement:
    """Raises `msgspec.MsgspecError` (a ValueError) for anything else."""
    return _announcements.decode(data)
