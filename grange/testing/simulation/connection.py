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

    Half-close, orderly end and reset travel in order with the messages. A stream that a firewall or a middlebox has
    reset is torn: nothing that this end sent arrives any more, also before this end has received the reset.
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
        self._torn = False

    @property
    def accepting(self) -> bool:
        """See `network.ConnectionEnd`."""
        return self._accepting

    def kill(self, error: Exception | None = None) -> None:
        if not self._ended:
            self._send(SimulatedConnection._on_reset)
            self._end(error)

    # -- for the network --

    def on_repaired(self) -> None:
        if self._peer is not None:
            self._network.later(self.far, self.process, self._peer._complete_held)

    def on_rejected(self) -> None:
        self._tear(f"{self.far.name} reset the connection")

    def on_keepalive(self) -> None:
        if self._torn or (self._peer is not None and (self._peer._torn or self._peer._ended)):
            self._learn_of_end()

    def reset_both(self) -> None:
        for end in (self, self._peer):
            if end is not None:
                end._tear(f"the connection to {end.far.name} was reset on the way")

    def on_lost(self, error: Exception) -> None:
        self._end(error)

    def _tear(self, reason: str) -> None:
        """Lose all that is under way from this end, and reset this end, as soon as the reset has come."""
        self._torn = True
        self._in_flight.clear()
        if not self._ended and not self._network.is_cut(self.far, self.process):
            self._network.later(self.far, self.process, self.on_lost, ConnectionLost(reason))

    def _learn_of_end(self) -> None:
        """Receive the reset with which a machine answers for a connection that it does not have, if it can come."""
        network = self._network
        if not self._ended and network.passes(self.process, self.far) and network.passes(self.far, self.process):
            error = ConnectionLost(f"{self.far.name} has no such connection")
            network.later(self.far, self.process, self.on_lost, error)

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
        if self._peer is None or self._torn:
            return
        self._in_flight.append(partial(arrive, self._peer))
        delay = self._network.delay(self.process, self.far)
        self._last_arrival = max(self._last_arrival, self._loop.time() + delay)
        with self._network.loop.within(self.far):
            self._loop.call_at(self._last_arrival, self._on_arrival, context=self._context)

    def _on_arrival(self) -> None:
        """Let the firewall of a rejected line answer this end, or the acknowledgement of the other end."""
        network = self._network
        if not self._torn and not self._held and not self._line_is_cut():
            if network.is_rejected(self.process, self.far):
                self.on_rejected()
            elif self._peer is not None and network.is_rejected(self.far, self.process):
                self._peer.on_rejected()
        super()._on_arrival()

    def _complete_one(self) -> None:
        peer = self._peer
        is_gone = peer is not None and peer._ended and not peer._in_flight  # and no signal of its end is under way
        super()._complete_one()
        if is_gone:
            self._learn_of_end()

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
