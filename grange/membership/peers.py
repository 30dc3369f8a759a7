"""What silos say to each other about membership: probes, and the view after a change.

Gossip decides nothing: what is lost is made good by the refresh, and what is taken over is what the table
says. It only spares everybody the wait for the next read.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Protocol

from grange.errors import GrangeError
from grange.membership.member import View
from grange.membership.messages import (
    PROBE_SERVICE,
    VIEW_SERVICE,
    Announcement,
    Probe,
    ProbeReply,
    decode_announcement,
    decode_probe,
    decode_reply,
    encode,
)
from grange.membership.options import MembershipOptions
from grange.membership.rings import PROBED
from grange.proto.ids import SiloAddress
from grange.runtime.system_target import Ask, SystemTargets
from grange.runtime.tasks import Tasks

log = logging.getLogger("grange.membership")


class Knowledge(Protocol):
    """What this silo knows and is told; `upkeep.py` implements it."""

    @property
    def version(self) -> int:
        """The version of this silo's view."""
        ...

    def hint(self, version: int) -> None:
        """Another silo says that it has seen this version."""
        ...

    def hear(self, announcement: Announcement) -> None:
        """Another silo has changed the table and read it since."""
        ...


class Peers:
    """The other silos, as one silo's agent talks to them."""

    def __init__(self, me: SiloAddress, ask: Ask, knowledge: Knowledge, options: MembershipOptions) -> None:
        self._me = me
        self._ask = ask
        self._knowledge = knowledge
        self._options = options
        self._tasks = Tasks()

    def serve(self, targets: SystemTargets) -> None:
        """Answer what they ask."""
        targets.serve(PROBE_SERVICE, self._answer_probe)
        targets.serve(VIEW_SERVICE, self._hear)

    async def probe(self, silo: SiloAddress) -> bool:
        """Whether this very generation answers within the probe time-out. Never raises."""
        question = encode(Probe(self._knowledge.version))
        try:
            answer = await self._ask(silo, PROBE_SERVICE, question, self._options.probe_timeout)
            reply = decode_reply(answer)
        except Exception as error:
            # Whatever a peer answers or raises in a probe's stead, it is no answer to the probe.
            log.debug("silo %s did not answer a probe: %r", silo, error)
            return False
        self._knowledge.hint(reply.version)
        return reply.silo == silo

    def spread(self, announcement: Announcement, before: View) -> None:
        """Tell everybody who is not dead, or was not dead `before`: who died should know it first."""
        data = encode(announcement)
        for silo in dict.fromkeys((*_living(announcement.view), *_living(before))):
            if silo != self._me:
                self._tasks.start(self._tell(silo, data))

    async def flush(self) -> None:
        """Wait until everybody has been told, or could not be within the gossip time-out."""
        await self._tasks.wait()

    async def close(self) -> None:
        """Drop what has not been told yet."""
        await self._tasks.close()

    async def _tell(self, silo: SiloAddress, data: bytes) -> None:
        try:
            await self._ask(silo, VIEW_SERVICE, data, self._options.gossip_timeout)
        except GrangeError as error:
            log.debug("silo %s was not told of the new view: %s", silo, error)

    async def _answer_probe(self, question: bytes) -> bytes:
        self._knowledge.hint(decode_probe(question).version)
        return encode(ProbeReply(self._me, self._knowledge.version))

    async def _hear(self, question: bytes) -> bytes:
        self._knowledge.hear(decode_announcement(question))
        return b""


def _living(view: View) -> Iterable[SiloAddress]:
    return (member.address for member in view.with_status(*PROBED))
