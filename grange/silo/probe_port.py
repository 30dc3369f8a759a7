"""The port that answers probes, also while a turn blocks the event loop, and the watch over that loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

from grange.aio.tasks import Tasks
from grange.membership.detection.deps import AskProbe
from grange.membership.model.member import Member
from grange.proto.ids import SiloAddress
from grange.silo.loop_watch import LoopWatch
from grange.transport.provider import ProbeLine, Transport


class ProbePort:
    """The probe port of one silo. Without effect on a network that has no probe lines, such as the one of tests.

    `startup.py` opens it before the silo joins, and it closes after all other parts but the transport: the silo answers
    probes while it drains.
    """

    def __init__(self) -> None:
        self._line: ProbeLine | None = None
        self._watch: LoopWatch | None = None
        self._tasks = Tasks()

    async def open(self, transport: Transport, place: tuple[str, int], cluster: str, tls_port: int = 0) -> None:
        """Open the port, and that with TLS beside it. Raises ConfigurationError if one is in use."""
        self._line = await transport.probes(*place, cluster, tls_port)

    @property
    def port(self) -> int:
        """The number of the port; 0: this silo answers probes by ordinary connections."""
        return self._line.port if self._line is not None else 0

    @property
    def tls_port(self) -> int:
        """The number of the port with TLS; 0: there is none."""
        return self._line.tls_port if self._line is not None else 0

    @property
    def ask(self) -> AskProbe | None:
        """A function that probes the port of another silo, for membership; None: probe by ordinary connections."""
        line = self._line
        if line is None:
            return None

        async def ask(member: Member, question: bytes, timeout: float) -> bytes:
            return await line.ask(member.address, member.probe, question, timeout, member.probe_tls)

        return ask

    def serve(self, me: SiloAddress, answer: Callable[[bytes], bytes], watch: LoopWatch) -> None:
        """Answer probes from now on, and watch the event loop by `watch`."""
        if self._line is not None:
            self._line.serve(me, answer)
            self._watch = watch
            self._watch.start()

    def drop(self, dead: Iterable[SiloAddress]) -> None:
        """Close the probe connections to these silos in the background."""
        if self._line is not None:
            for silo in dead:
                self._tasks.start(self._line.close_channel(silo))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._watch is not None:
            self._watch.close()
        await self._tasks.close()
        if self._line is not None:
            await self._line.close()
