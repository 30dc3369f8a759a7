"""Probes between processes: a small synchronous gRPC server with its own threads, beside the asyncio server.

A turn that blocks the event loop must not count as a death, so these threads answer meanwhile. A prober sends its
probes from its event loop, over a channel used for probes only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import grpc
import grpc.aio

from grange.aio.threads import blocks
from grange.errors import SiloUnavailable
from grange.proto.codec import InvalidFrame, decode_answer, decode_question, encode_answer, encode_question
from grange.proto.ids import SiloAddress, endpoint_of
from grange.transport.grpc_options import probe_options, probe_server_options
from grange.transport.listening import cannot_listen
from grange.transport.options import TransportOptions

SERVICE = "grange.v1.Probe"
METHOD = f"/{SERVICE}/Ask"

PROBE_THREADS = 2
"""Threads that answer probes. An answer takes microseconds; the second works while a slow peer blocks the first."""

MAX_CONCURRENT_PROBES = 64
"""Largest number of probes in progress. Only a few silos probe a silo; a flood of probes must not exhaust memory."""

NO_ANSWER = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
"""Status codes of gRPC when the other side does not answer."""


class GrpcProbeLine:
    """See `provider.ProbeLine`."""

    def __init__(self, place: tuple[str, int], cluster: str, options: TransportOptions) -> None:
        self._place = place
        self._cluster = cluster
        self._options = options
        self._me: SiloAddress | None = None
        self._answer: Callable[[bytes], bytes] = _not_serving
        self._channels: dict[SiloAddress, grpc.aio.Channel] = {}
        self._port = 0
        self._threads = ThreadPoolExecutor(PROBE_THREADS, thread_name_prefix="grange-probe")
        method: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(self._answer_probe)
        self._server = grpc.server(
            self._threads,
            handlers=[grpc.method_handlers_generic_handler(SERVICE, {"Ask": method})],
            options=probe_server_options(options),
            maximum_concurrent_rpcs=MAX_CONCURRENT_PROBES,
        )

    @property
    def port(self) -> int:
        """The port on which probes are answered."""
        return self._port

    def start(self) -> None:
        """Open the port. Raises CannotListen."""
        try:
            self._port = self._server.add_insecure_port(endpoint_of(*self._place))
        except RuntimeError:
            self._threads.shutdown(wait=False)
            raise cannot_listen(*self._place) from None
        self._server.start()

    def serve(self, me: SiloAddress, answer: Callable[[bytes], bytes]) -> None:
        """See `provider.ProbeLine`."""
        self._me, self._answer = me, answer

    async def ask(self, silo: SiloAddress, port: int, question: bytes, timeout: float) -> bytes:
        """See `provider.ProbeLine`."""
        channel = self._channels.get(silo)
        if channel is None:
            channel = grpc.aio.insecure_channel(endpoint_of(silo.host, port), options=probe_options(self._options))
            self._channels[silo] = channel
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD)
        try:
            return decode_answer(await call(encode_question(self._cluster, silo, question), timeout=timeout))
        except InvalidFrame as error:
            raise SiloUnavailable(f"the server on probe port {port} of {silo} is not a grange silo: {error}") from None
        except grpc.aio.AioRpcError as error:
            if error.code() in NO_ANSWER:
                await self._close_channel(silo, channel)
            raise SiloUnavailable(f"silo {silo} did not answer on its probe port {port}: {error.details()}") from None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # gRPC raises CancelledError also when another task closes the channel.
            raise SiloUnavailable(f"the channel to silo {silo} was closed during a probe") from None

    async def close_channel(self, silo: SiloAddress) -> None:
        """See `provider.ProbeLine`."""
        channel = self._channels.get(silo)
        if channel is not None:
            await self._close_channel(silo, channel)

    async def close(self) -> None:
        """See `provider.ProbeLine`."""
        stopped = self._server.stop(0)
        channels, self._channels = list(self._channels.values()), {}
        await asyncio.gather(*(channel.close() for channel in channels))
        await blocks(stopped.wait)
        self._threads.shutdown(wait=False)

    async def _close_channel(self, silo: SiloAddress, channel: grpc.aio.Channel) -> None:
        """Close a channel, so that the next probe connects anew: gRPC's back-off would hide a returned silo."""
        if self._channels.get(silo) is channel:
            del self._channels[silo]
        await channel.close()

    def _answer_probe(self, data: bytes, context: grpc.ServicerContext) -> bytes:
        """Answer one probe, in a thread. A refused probe counts as unanswered, so it needs no details."""
        try:
            cluster, target, body = decode_question(data)
            if (cluster, target) == (self._cluster, self._me):
                return encode_answer(self._answer(body))
        except ValueError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        context.abort(
            grpc.StatusCode.FAILED_PRECONDITION,
            f"this is {self._me} of cluster {self._cluster!r}, not the silo that was probed",
        )
        raise AssertionError("abort raises")


def _not_serving(_: bytes) -> bytes:
    raise ValueError("this silo does not answer probes yet")
