"""Services addressed by silo, not by grain: probes, directory slices, management. They need no directory.

A question and its answer are bytes (msgspec structs of the asking room). Answers run beside each other.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from grange.proto.ids import GrainId, SiloAddress

SYSTEM_TYPE = "grange.system"
"""The grain type that marks a request for a system target; its key is the service's name."""

Answer = Callable[[bytes], Awaitable[bytes]]
"""One service: question in, answer out. A raised `GrangeError` or builtin error travels back to the asker."""


class Ask(Protocol):
    """Asking a system target of a known silo; `runtime/calls/sender.py` implements it."""

    async def __call__(self, silo: SiloAddress, service: str, question: bytes, timeout: float) -> bytes:
        """Returns the answer. `timeout` is in seconds.

        Raises `SiloUnavailable` (certainly not asked), `ConnectionLost` or `CallTimeout` (perhaps asked), or what the
        service raised.
        """
        ...


class SystemTargets:
    """The services of this silo, by name. Filled at start-up, read by `runtime/calls/inbound.py`."""

    def __init__(self) -> None:
        self._answers: dict[str, Answer] = {}

    def serve(self, service: str, answer: Answer) -> None:
        """Offer a service under this name, for the life of the silo."""
        if service in self._answers:
            raise ValueError(f"system target {service!r} is served already")
        self._answers[service] = answer

    def find(self, service: str) -> Answer | None:
        """The service of this name, if this silo offers it."""
        return self._answers.get(service)


def system_id(service: str) -> GrainId:
    """How a service is named in a request."""
    return GrainId(SYSTEM_TYPE, service)
