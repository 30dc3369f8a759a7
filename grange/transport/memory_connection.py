"""One end of a connection on the memory network."""

from __future__ import annotations

import asyncio
import copy
from functools import partial

from grange.errors import ConnectionLost
from grange.proto.message import Message
from grange.transport.handshake import Handshake
from grange.transport.memory_network import Fate, MemoryNetwork, Node
from grange.transport.options import TransportOptions
from grange.transport.paired import Deliver, PairedConnection


class MemoryConnection(PairedConnection):
    """Delivers frames: it encodes and decodes the messages as on a real network. Both ends end together.

    `MemoryTransport.connect` makes the pairs.
    """

    def __init__(
        self, network: MemoryNetwork, options: TransportOptions, nodes: tuple[Node, Node], handshake: Handshake,
        *, accepting: bool,
    ) -> None:  # fmt: skip
        super().__init__(options, handshake, accepting=accepting, loop=asyncio.get_running_loop())
        self._network = network
        self._node, peer_node = nodes
        self.local = self._node.name
        self.remote = self._peer_name = peer_node.name
        self._delayed = 0

    def kill(self, error: Exception | None = None) -> None:
        self._end_both(error, error or ConnectionLost(f"{self.local} broke the connection"))

    def on_repaired(self) -> None:
        """Deliver the held messages and continue to write, because the line is repaired."""
        self._loop.call_soon(self._go_on, context=self._context)

    # -- moving --

    def _on_joined(self) -> None:
        self._node.connections[self] = None

    def _write_blocked(self) -> bool:
        return self._line_is_cut()

    def _line_is_cut(self) -> bool:
        return self._network.is_cut(self.local, self.remote)

    def _send_batch(self, deliver: Deliver) -> None:
        frame = self._encode(self._outbox.take())
        batch = self._frames.decode(frame, self._options.frame_limit)
        if self._network.fate is not None:
            batch = self._apply_fate(self._network.fate, batch)
        if self._network.latency > 0 or self._in_flight:
            self._in_flight.append(partial(deliver, batch, len(frame)))
            self._loop.call_later(self._network.latency, self._on_arrival, context=self._context)
        else:
            deliver(batch, len(frame))

    def _apply_fate(self, fate: Fate, batch: list[Message]) -> list[Message]:
        """Draw the fate of each message; return those that arrive in order, and send each delayed one separately."""
        in_order: list[Message] = []
        for message in batch:
            for delay in fate(self.local, self.remote, message):
                if delay <= 0:
                    in_order.append(copy.copy(message))
                    continue
                self._delayed += 1
                self._loop.call_later(
                    self._network.latency + delay, self._on_delayed_arrival, copy.copy(message), context=self._context
                )
        return in_order

    def _on_delayed_arrival(self, message: Message) -> None:
        self._delayed -= 1
        if self._ended or self._peer is None:
            return
        arrive = partial(self._peer._deliver, [message], 0)
        if self._line_is_cut():
            self._in_flight.appendleft(arrive)
            self._held += 1
            return
        arrive()
        self._check_arrived()

    def _go_on(self) -> None:
        self._complete_held()
        self._wake_writer()
        self._check_arrived()

    # -- ending --

    async def _drain(self) -> None:
        await self._wait_until_arrived()
        if self._peer is not None and not self._accepting:
            self._peer._closing = True  # the peer has received the end of the stream, and may finish its answers
            await self._peer._wait_until_arrived()

    def _unfinished(self) -> bool:
        return bool(super()._unfinished() or self._delayed)

    def _end_in_order(self) -> None:
        self._end_both(None, None)

    def _end_both(self, error: Exception | None, peer_error: Exception | None) -> None:
        self._end(error)
        if self._peer is not None:
            self._peer._end(peer_error)

    def _on_end(self) -> None:
        self._node.connections.pop(self, None)
        self._in_flight.clear()
        super()._on_end()
