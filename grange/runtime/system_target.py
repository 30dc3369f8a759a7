"""Services addressed by silo, not by grain: probes, directory slices, management. They need no directory.

A question and its answer are bytes (msgspec structs of the asking room). A silo answers many questions concurrently.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from grange.errors import GrangeError
from grange.proto.acts import Asker, Level
from grange.proto.ids import GrainId, SiloAddress
from grange.proto.message import Reason, Rejection, Request, Response
from grange.transport.provider import Connection

log = logging.getLogger("grange.runtime")

SYSTEM_TYPE = "grange.system"
"""The grain type of requests for system targets; the grain key is the service's name."""

BARRIER = "connection.barrier"
"""The service that does nothing: its answer comes after all that the silo sent on that connection before."""

Answer = Callable[[bytes], Awaitable[bytes]]
"""One service: question in, answer out. A GrangeError or builtin error that it raises is sent back to the asker."""


AnswerTo = Callable[[bytes, Asker], Awaitable[bytes]]
"""One service whose answer depends on the peer that asks."""


class Ask(Protocol):
    """Asks a system target of a known silo; `calls/sender.py` implements it."""

    async def __call__(self, silo: SiloAddress, service: str, question: bytes, timeout: float) -> bytes:
        """Return the answer. `timeout` is in seconds.

        Raises SiloUnavailable (certainly not asked), ConnectionLost or CallTimeout (perhaps asked), or the error that
        the service raised.
        """
        ...


ITSELF = Asker("this silo", Level.ADMIN, is_silo=True)
"""The asker of a question that does not come by a connection."""


class SystemTargets:
    """The services of this silo, by name. Start-up fills it; `calls/inbound.py` reads it.

    `asker_of` tells what the peer of an accepted connection may ask; `denied` is told of a question that needs a higher
    level than its asker has, `forged` of a request for which a client named an identity that it may not name, and why.
    """

    def __init__(self, asker_of: Callable[[Connection], Asker]) -> None:
        self.asker_of = asker_of
        self.denied: Callable[[Asker, str, Level], None] = _ignore
        self.forged: Callable[[Asker, Request, str], None] = _ignore
        self._answers: dict[str, Answer] = {}
        self._answers_to: dict[str, AnswerTo] = {}
        self._levels: dict[str, Level] = {}

    def serve(self, service: str, answer: Answer, level: Level = Level.ADMIN) -> None:
        """Offer a service under this name, for the life of the silo, to connections of at least this level."""
        self._add(service, level)
        self._answers[service] = answer

    def serve_to(self, service: str, answer: AnswerTo, level: Level) -> None:
        """As `serve`, for a service that must know the peer that asks."""
        self._add(service, level)
        self._answers_to[service] = answer

    def find(self, service: str, asker: Asker = ITSELF) -> Answer | None:
        """The service of this name as this peer has it, or None. For this process itself: no level is checked."""
        answer_to = self._answers_to.get(service)
        return self._answers.get(service) if answer_to is None else lambda question: answer_to(question, asker)

    async def answer(
        self, request: Request, encode: Callable[[BaseException], bytes], asker: Asker
    ) -> Response | Rejection:
        """The outcome of a question of this peer. `encode` makes the payload of an error."""
        service = request.grain_id.key
        needed = self._levels.get(service)
        if needed is None:
            return Rejection(request.id, Reason.NO_SUCH_GRAIN, f"there is no system target {service!r} here")
        if asker.level < needed:
            self.denied(asker, service, needed)
            return Rejection(request.id, Reason.UNAUTHORIZED, lack(service, needed, asker.level))
        try:
            if (answer := self._answers.get(service)) is not None:
                return Response(request.id, await answer(request.args))
            return Response(request.id, await self._answers_to[service](request.args, asker))
        except msgspec.DecodeError as error:  # malformed, by a peer that is no grange: its traceback tells nothing
            text = "system target %s failed: it cannot read a question: %s"
            log.error(text, service, error, extra={"event": "system_target_failed"})
            return Response(request.id, encode(error), failed=True)
        except Exception as error:
            if not isinstance(error, GrangeError):
                log.exception("system target %s failed", service, extra={"event": "system_target_failed"})
            return Response(request.id, encode(error), failed=True)

    def _add(self, service: str, level: Level) -> None:
        if service in self._levels:
            raise ValueError(f"system target {service!r} is served already")
        self._levels[service] = level


def _ignore(*_: object) -> None:
    """Before the start of the silo has set another."""


def lack(wanted: str, needed: Level, level: Level) -> str:
    """The text of a refusal: `wanted` needs a higher level than the connection has."""
    has = f"has the role {level.name.lower()}" if level else "has no role"
    return (
        f"{wanted} needs the role {needed.name.lower()}, and this client {has}; connect with a token of that role: "
        "Client(token=...), or of `grange` --token-file, GRANGE_ADMIN_TOKEN, or admin-token in a silo's data folder; "
        "or have the option roles give it to the identity of the client"
    )


def system_id(service: str) -> GrainId:
    """The grain id of a service in a request."""
    return GrainId(SYSTEM_TYPE, service)
