"""The channels by which a silo probes others, one for each. A new certificate replaces them while they are in use."""

from __future__ import annotations

import asyncio
import contextvars

import grpc.aio

from grange.proto.ids import SiloAddress
from grange.transport.grpc_credentials import open_channel
from grange.transport.grpc_options import probe_options
from grange.transport.options import TransportOptions
from grange.transport.tls import Tls

LAST_PROBES = 10.0
"""Seconds that the probes on a replaced channel may still take; the time-out of one is shorter."""

PAUSE = 1.0
"""Seconds between two attempts to replace a channel."""


class ProbeChannel:
    """One channel, and where it leads. `tls`: None without TLS."""

    def __init__(self, place: tuple[str, int], tls: Tls | None, options: TransportOptions) -> None:
        self._place = place
        self._options = options
        self.tls = tls
        self.channel = open_channel(*place, probe_options(options), tls)

    async def again(self) -> ProbeChannel | None:
        """Another channel to the same place, which has connected; None: it cannot connect in time."""
        other = ProbeChannel(self._place, self.tls, self._options)
        try:
            async with asyncio.timeout(self._options.connect_timeout):
                await other.channel.channel_ready()
        except TimeoutError:
            await other.channel.close()
            return None
        except BaseException:
            await other.channel.close()
            raise
        return other


class ProbeChannels:
    """The channels of one silo. In order: `get` and `discard`, then `close`."""

    def __init__(self, options: TransportOptions, tls: Tls | None) -> None:
        self._options = options
        self._tls = tls
        self._channels: dict[SiloAddress, ProbeChannel] = {}
        self._renewals: set[asyncio.Task[None]] = set()
        self._forget = None if tls is None else tls.material.on_change(lambda _: self._renew_all())

    def get(self, silo: SiloAddress, port: int, tls_port: int) -> grpc.aio.Channel:
        """The channel to this silo; it connects when it is first used. TLS is taken where both sides have it."""
        found = self._channels.get(silo)
        if found is None:
            tls = self._tls if self._tls is not None and (self._tls.required or tls_port) else None
            place = silo.host, port if tls is None else tls_port or port
            found = self._channels[silo] = ProbeChannel(place, tls, self._options)
        return found.channel

    async def discard(self, silo: SiloAddress, channel: grpc.aio.Channel | None = None) -> None:
        """Close the channel to a silo, or this one to it. The next probe connects anew: gRPC's back-off would hide a
        returned silo.
        """
        found = self._channels.get(silo)
        if found is not None and channel in (None, found.channel):
            del self._channels[silo]
            channel = found.channel
        if channel is not None:
            await channel.close()

    async def close(self) -> None:
        """Close all channels."""
        if self._forget is not None:
            self._forget()
        for task in self._renewals:
            task.cancel()
        channels, self._channels = list(self._channels.values()), {}
        await asyncio.gather(*(each.channel.close() for each in channels))
        await asyncio.gather(*self._renewals, return_exceptions=True)

    def _renew_all(self) -> None:
        """There is another pair: replace each channel with TLS by another one, once that has connected.

        A probe never waits for that, and none is lost by it: the silo that is probed would be suspected.
        """
        for silo, each in self._channels.items():
            if each.tls is not None:
                task = asyncio.get_running_loop().create_task(
                    self._renew(silo, each), name=f"renew the probe channel to {silo}", context=contextvars.Context()
                )
                self._renewals.add(task)
                task.add_done_callback(self._renewals.discard)

    async def _renew(self, silo: SiloAddress, old: ProbeChannel) -> None:
        while self._channels.get(silo) is old:
            other = await old.again()
            if other is None:
                await asyncio.sleep(PAUSE)
            elif self._channels.get(silo) is old:
                self._channels[silo] = other
                try:
                    await old.channel.close(LAST_PROBES)
                finally:
                    await old.channel.close()
            else:
                await other.channel.close()
