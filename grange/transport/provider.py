"""The transport contract: the operations of a network, and its promises about the messages it accepts.

A connection is one bidirectional, ordered stream after a handshake. Requests travel on the connection that their sender
opened; answers travel back on the stream of their request. The accepting side stops reading while its queue of answers
is full, or while its receiver has paused it; the opening side always reads. So only requests ever wait for answers to
be read, and no answer waits for anything: this bounds both queues and cannot deadlock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from grange.observability.counters import TrafficFigures
from grange.proto.handshake import Hello, Welcome
from grange.proto.ids import SiloAddress
from grange.proto.message import Message
from grange.security.certificate import Certificate
from grange.transport.arrivals import Arrivals


class Receiver(Protocol):
    """Receives the messages and the end of one connection. Both methods run in the event loop and must not block."""

    def receive(self, messages: Iterable[Message]) -> None:
        """Take the messages of one frame, in order. They end early if the connection ends.

        An exception goes to the loop's exception handler; the connection stays open, and the messages that were not
        taken yet come in another call.
        """
        ...

    def lost(self, unsent: Sequence[Message], error: Exception | None) -> None:
        """The connection ended; called exactly once.

        `unsent` are the messages that never left this process; the fate of all others is unknown. `error` is None
        after an orderly close by either side.
        """
        ...


class Connection(Protocol):
    """One live stream to a peer after a successful handshake."""

    @property
    def hello(self) -> Hello:
        """The greeting of the opening side."""
        ...

    @property
    def welcome(self) -> Welcome:
        """The greeting of the accepting side."""
        ...

    @property
    def certificate(self) -> Certificate | None:
        """On the accepting side, the certificate of the peer; None: the connection is not protected by TLS."""
        ...

    @property
    def remote_address(self) -> str:
        """On the accepting side, the address of the peer as it is counted; empty if the network does not tell."""
        ...

    @property
    def closed(self) -> bool:
        """True when messages can no longer be posted."""
        ...

    @property
    def full(self) -> bool:
        """True while the send queue is at its bound: await `ready()` before posting a request."""
        ...

    @property
    def last_received(self) -> float:
        """Loop time of the last frame received; before the first, of the end of the handshake."""
        ...

    @property
    def payload_limit(self) -> int:
        """The largest payload, in bytes, that `post` accepts: the lower of both sides' limits."""
        ...

    @property
    def unwritten(self) -> int:
        """The payload bytes that were posted and are not yet written to the stream."""
        ...

    def count(self, traffic: TrafficFigures) -> None:
        """Count the frames from now on in `traffic`."""
        ...

    def watch(self, on_written: Callable[[], None]) -> None:
        """Have `on_written` called each time a frame has been written. It must not raise."""
        ...

    def pause(self) -> None:
        """Take no more frames from the peer, so that its own writes wait. Only for the accepting side: the opening side
        must always read answers, or two silos could wait for each other.
        """
        ...

    def resume(self) -> None:
        """Take frames from the peer again."""
        ...

    def post(self, message: Message) -> bool:
        """Queue one message without waiting, and return whether the queue has room for more: not `full`.

        The caller must not change the message afterwards.

        Raises `SiloUnavailable` when the connection is closed and `PayloadTooLarge` when the message is over a limit;
        the message is not sent then.
        """
        ...

    async def ready(self) -> None:
        """Wait until the send queue has room. Raises `SiloUnavailable` when the connection ends first."""
        ...

    async def close(self) -> None:
        """Write the queue within the close time-out, end the stream, and wait until all resources are free."""
        ...

    def kill(self, error: Exception | None = None) -> None:
        """End the stream now and write nothing more; `lost` has been called when this returns.

        Use it when the peer is known to be dead. The transport's `close` frees what the network still holds.
        """
        ...


Accept = Callable[[Connection], Receiver]
"""Called with each accepted connection right after its handshake; returns the receiver of its messages."""

Admit = Callable[[Hello, Certificate | None], Welcome]
"""Called with each Hello and the certificate of its sender (None: the connection is not protected by TLS); returns the
Welcome, or raises `HandshakeRefused` with the reason sent to the peer."""


class Listener(Protocol):
    """One open port."""

    @property
    def arrivals(self) -> Arrivals:
        """Counts the connections that it accepts, on a network on which they are limited."""
        ...

    @property
    def port(self) -> int:
        """The number of the open port, also when port 0 was requested."""
        ...

    def answer_health(self, is_serving: Callable[[], bool], admits: Callable[[Certificate | None], bool]) -> None:
        """Answer health checks by this from now on, where the network has a standard for them; it must not block.

        `admits`: whether the peer with this certificate (None: no TLS) may ask.
        """
        ...

    async def close(self) -> None:
        """Close the port and every connection accepted on it."""
        ...


class ProbeLine(Protocol):
    """Sends and answers probes on its own port. A separate thread answers, also while the event loop is blocked."""

    @property
    def port(self) -> int:
        """The port on which probes are answered."""
        ...

    @property
    def tls_port(self) -> int:
        """The port on which probes are answered with TLS; 0: there is none. It is `port` if TLS is required."""
        ...

    def serve(self, me: SiloAddress, answer: Callable[[bytes], bytes]) -> None:
        """Start to answer probes, as silo `me`. `answer` runs in a thread; when it raises, the probe gets no answer."""
        ...

    async def ask(self, silo: SiloAddress, port: int, question: bytes, timeout: float, tls_port: int = 0) -> bytes:
        """Probe this generation and return its answer. Raises SiloUnavailable without an answer in `timeout` s.

        `tls_port` is its port for probes with TLS (0: it has none), which is taken if this side has TLS.
        """
        ...

    async def close_channel(self, silo: SiloAddress) -> None:
        """Close the channel for probing a silo that is gone."""
        ...

    async def close(self) -> None:
        """Stop answering, and free all resources."""
        ...


class Road(Protocol):
    """A better way to the peers that have it too, on ports of its own: a faster one, or TLS. `connect` takes it."""

    async def listen(self, host: str, port: int, admit: Admit, accept: Accept) -> Listener:
        """Open a port of this road. Raises `ConfigurationError` as `Transport.listen` does."""
        ...

    def learn(self, ports: Mapping[str, int]) -> None:
        """The peers that have this road, from now on: their ports by the host:port at which others reach them."""
        ...


class TlsRoad(Road, Protocol):
    """The ports with TLS."""

    def on_change(self, callback: Callable[[float], None]) -> Callable[[], None]:
        """Have `callback` called when new connections use another certificate, or trust other authorities.

        It gets the seconds within which the open ones are to be replaced. Returns the function that ends this;
        idempotent.
        """
        ...


class Transport(Protocol):
    """Listens and connects for one silo or client."""

    @property
    def road(self) -> Road | None:
        """The faster road beside this network; None: there is none."""
        ...

    @property
    def tls(self) -> TlsRoad | None:
        """The ports with TLS beside those of `listen`; None: this side has no TLS.

        `learn` names the ports with TLS of the peers that have it; `connect` takes them. If TLS is required, every port
        and every connection has it, and these are further ones.
        """
        ...

    async def listen(self, host: str, port: int, admit: Admit, accept: Accept) -> Listener:
        """Open a port. Raises `ConfigurationError`, with the address, when it is in use or not one of this machine."""
        ...

    async def connect(self, host: str, port: int, hello: Hello, receiver: Receiver) -> Connection:
        """Open a connection and perform the handshake, within the connect time-out.

        Raises `SiloUnavailable` when no process answers there and `HandshakeRefused` when the peer refuses.
        """
        ...

    async def probes(self, host: str, port: int, cluster: str, tls_port: int = 0) -> ProbeLine | None:
        """Open a probe line on this port (0: a free one); the caller closes it. None: this network has no probe lines.

        `tls_port`: the further port with TLS, where TLS is not required. It has no effect otherwise.

        Raises ConfigurationError when the address is in use, or is not an address of this machine.
        """
        ...

    async def refuses(self, host: str, port: int, timeout: float) -> bool:
        """Whether this port refuses a new connection at once: no process listens there. Never raises.

        False also if nothing answers within `timeout` seconds: that says nothing about the process.
        """
        ...

    async def close(self) -> None:
        """Close all listeners and connections."""
        ...
