"""The transport contract: what a network must offer, and what it promises about messages it was given.

A connection is one handshaken, bidirectional, ordered stream. Requests go out on the connection that this
side opened; answers come back on the stream their request came by. So the two sides are not alike: the
accepting side stops reading while its queue of answers is full, the opening side always reads. That bounds
both and cannot deadlock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from grange.proto.handshake import Hello, Welcome
from grange.proto.ids import SiloAddress
from grange.proto.message import Message


class Receiver(Protocol):
    """What a connection reports to. Both methods are called in the event loop and never block."""

    def receive(self, message: Message) -> None:
        """One message arrived. An exception from here is reported to the loop and ends nothing."""
        ...

    def lost(self, unsent: Sequence[Message], error: Exception | None) -> None:
        """The connection ended, exactly once. `unsent` never left this process; of all others nothing is
        known.

        `error` is None for an orderly close by either side.
        """
        ...


class Connection(Protocol):
    """One live stream to a peer whose handshake succeeded."""

    @property
    def hello(self) -> Hello:
        """What the opening side said of itself."""
        ...

    @property
    def welcome(self) -> Welcome:
        """What the accepting side answered."""
        ...

    @property
    def closed(self) -> bool:
        """True once nothing can be posted any more."""
        ...

    @property
    def full(self) -> bool:
        """True while the send queue is at its bound: requests should `await ready()` before `post`."""
        ...

    @property
    def heard_at(self) -> float:
        """When the last frame arrived, in the event loop's time; at first, when the handshake ended."""
        ...

    @property
    def payload_limit(self) -> int:
        """The largest payload, in bytes, that `post` takes on this connection: the lower of both sides' limits."""
        ...

    def post(self, message: Message) -> None:
        """Queue one message, without waiting; it must not be changed any more.

        Raises `SiloUnavailable` when closed and `PayloadTooLarge` when it is over a limit; it was not sent
        then.
        """
        ...

    async def ready(self) -> None:
        """Wait until the send queue has room. Raises `SiloUnavailable` when the connection ends instead."""
        ...

    async def close(self) -> None:
        """Write what is queued (within the close time-out), then end the stream and wait until all is
        released.
        """
        ...

    def abort(self, error: Exception | None = None) -> None:
        """End the stream now and write nothing more; `lost` is told before this returns.

        For a peer that is known to be dead. What the network still holds is released by the transport's
        `close`.
        """
        ...


Accept = Callable[[Connection], Receiver]
"""Called for each accepted connection, right after its handshake; returns who receives its messages."""

Admit = Callable[[Hello], Welcome]
"""Called with each Hello; answers it, or raises `HandshakeRefused` with the reason that the peer will see."""


class Listener(Protocol):
    """An open door."""

    @property
    def port(self) -> int:
        """The port that is really open (useful when 0 was asked for)."""
        ...

    async def close(self) -> None:
        """Close the door and every connection that came through it."""
        ...


class ProbeLine(Protocol):
    """Probes beside the connections: answered by a thread of their own, also while the event loop is blocked."""

    @property
    def port(self) -> int:
        """The port that answers."""
        ...

    def serve(self, me: SiloAddress, answer: Callable[[bytes], bytes]) -> None:
        """Answer from now on, as `me`. `answer` is called in a thread; what it raises is no answer."""
        ...

    async def ask(self, silo: SiloAddress, port: int, question: bytes, timeout: float) -> bytes:
        """The answer of this very generation. Raises SiloUnavailable when none comes within `timeout` seconds."""
        ...

    async def drop(self, silo: SiloAddress) -> None:
        """This silo is gone: release what was kept to ask it."""
        ...

    async def close(self) -> None:
        """Answer no more, and release everything."""
        ...


class Transport(Protocol):
    """A network. One object serves one silo or client."""

    async def listen(self, host: str, port: int, admit: Admit, accept: Accept) -> Listener:
        """Open a door. Raises `ConfigurationError` naming the address when the port is in use or not ours."""
        ...

    async def connect(self, host: str, port: int, hello: Hello, receiver: Receiver) -> Connection:
        """Open a connection and shake hands, within the connect time-out.

        Raises `SiloUnavailable` when nobody answers there and `HandshakeRefused` when the peer says no.
        """
        ...

    async def probes(self, host: str, port: int, cluster: str) -> ProbeLine | None:
        """A probe line of its own on this port (0: a free one), closed by the caller; None: this network has none.

        Raises ConfigurationError when the port is in use or not ours.
        """
        ...

    async def close(self) -> None:
        """Close all doors and connections."""
        ...
