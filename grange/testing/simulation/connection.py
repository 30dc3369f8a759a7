"""One end of a simulated connection. It detects the end of the other side only after the delay of the network."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from functools import partial

from grange.errors import ConnectionLost
from grange.proto.message import Message
from grange.testing.simulation.loop import Process
from grange.testing.simulation.network import SimulatedNetwork
from grange.transport.handshake import Handshake
from grange.transport.options import TransportOptions
from grange.transport.paired import Deliver, PairedConnection


class SimulatedConnection(PairedConnection):
    """A connection between two processes; `SimulatedTransport.connect` makes the pairs.

    Half-close, orderly end and reset travel in order with the messages.
    """

    def __init__(
        self, network: SimulatedNetwork, options: TransportOptions, ends: tuple[Process, Process],
        handshake: Handshake, *, accepting: bool,
    ) -> None:  # fmt: skip
        super().__init__(options, handshake, accepting=accepting, loop=network.loop)
        self.process, self.far = ends
        self._network = network
        self._peer_name = self.far.name
        self._last_arrival = 0.0

    def kill(self, error: Exception | None = None) -> None:
        if not self._ended:
            self._send(SimulatedConnection._on_reset)
            self._end(error)

    # -- for the network --

    def on_repaired(self) -> None:
        if self._peer is not None:
            self._network.later(self.far, self.process, self._peer._complete_held)

    def on_lost(self, error: Exception) -> None:
        self._end(error)

    # -- moving --

    def _on_joined(self) -> None:
        self._network.register(self)

    def _write_blocked(self) -> bool:
        return False  # a cut line holds the messages that were sent, as TCP does

    def _line_is_cut(self) -> bool:
        return self._network.is_cut(self.process, self.far)

    def _wake_writer(self) -> None:
        with self._network.loop.within(self.process):
            super()._wake_writer()

    def _send_batch(self, deliver: Deliver) -> None:
        batch: list[Message] = []
        for message in self._outbox.take():
            copies = self._network.copies(self.process, self.far, message)
            batch.extend(copy.copy(message) for _ in range(copies))
        self._send(lambda _: deliver(batch, 0))

    def _send(self, arrive: Callable[[SimulatedConnection], None]) -> None:
        """Have `arrive` called on the peer, after everything in flight: streams are ordered."""
        if self._peer is None:
            return
        self._in_flight.append(partial(arrive, self._peer))
        delay = self._network.delay(self.process, self.far)
        self._last_arrival = max(self._last_arrival, self._loop.time() + delay)
        with self._network.loop.within(self.far):
            self._loop.call_at(self._last_arrival, self._on_arrival, context=self._context)

    # -- ending --

    async def _drain(self) -> None:
        await self._wait_until_arrived()
        if not self._accepting and not self._ended:
            self._send(SimulatedConnection._on_half_close)
            await asyncio.shield(self._released)

    def _check_arrived(self) -> None:
        super()._check_arrived()
        if self._closing and self._accepting and not self._ended:
            self._end_when_answered()

    def _end_when_answered(self) -> None:
        """End in order if the last answer has arrived, unless `close` waits for that and ends the connection itself."""
        if not self._unfinished() and self._arrived is None:
            self._end_in_order()

    def _end_in_order(self) -> None:
        if not self._ended:
            self._send(SimulatedConnection._on_orderly_end)
            self._end(None)

    def _on_reset(self) -> None:
        self._end(ConnectionLost(f"{self.far.name} broke the connection"))

    def _on_orderly_end(self) -> None:
        self._end(None)

    def _on_half_close(self) -> None:
        """Finish the answers, because the opening side has sent its last message."""
        if not self._ended:
            self._closing = True
            self._end_when_answered()

    def _on_end(self) -> None:
        self._network.unregister(self)
        super()._on_end()
