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
from grange.errors import HandshakeRefused, SiloUnavailable
from grange.proto.codec import InvalidFrame, decode_answer, decode_question, encode_answer, encode_question
from grange.proto.ids import SiloAddress
from grange.security.admission import admitted
from grange.transport.grpc_credentials import certificate_of, open_port, shows_certificate
from grange.transport.grpc_options import probe_server_options
from grange.transport.grpc_probe_channels import ProbeChannels
from grange.transport.listening import cannot_listen
from grange.transport.options import TransportOptions
from grange.transport.tls import Tls

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

    def __init__(self, place: tuple[str, int], cluster: str, options: TransportOptions, tls: Tls | None = None) -> None:
        self._place = place
        self._tls = tls
        self._cluster = cluster
        self._options = options
        self._me: SiloAddress | None = None
        self._answer: Callable[[bytes], bytes] = _not_serving
        self._channels = ProbeChannels(options, tls)
        self._port = self._tls_port = 0
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

    @property
    def tls_port(self) -> int:
        """The port on which probes are answered with TLS; 0: there is none."""
        return self._tls_port

    def start(self, tls_port: int = 0) -> None:
        """Open the port, with TLS if it is required, else that with TLS beside it. Raises CannotListen."""
        tls = self._tls
        if tls is None or not tls.required:
            self._port = self._open(self._place, None)
        if tls is not None:
            host, port = self._place
            self._tls_port = self._open((host, port if tls.required else tls_port), tls)
            self._port = self._port or self._tls_port
        self._server.start()

    def _open(self, place: tuple[str, int], tls: Tls | None) -> int:
        try:
            return open_port(self._server, place, tls)
        except RuntimeError:
            self._threads.shutdown(wait=False)
            raise cannot_listen(*place) from None

    def serve(self, me: SiloAddress, answer: Callable[[bytes], bytes]) -> None:
        """See `provider.ProbeLine`."""
        self._me, self._answer = me, answer

    async def ask(self, silo: SiloAddress, port: int, question: bytes, timeout: float, tls_port: int = 0) -> bytes:
        """See `provider.ProbeLine`."""
        channel = self._channels.get(silo, port, tls_port)
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD)
        try:
            return decode_answer(await call(encode_question(self._cluster, silo, question), timeout=timeout))
        except InvalidFrame as error:
            raise SiloUnavailable(f"the server on probe port {port} of {silo} is not a grange silo: {error}") from None
        except grpc.aio.AioRpcError as error:
            if error.code() in NO_ANSWER:
                await self._channels.discard(silo, channel)
            raise SiloUnavailable(f"silo {silo} did not answer on its probe port {port}: {error.details()}") from None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # gRPC raises CancelledError also when another task closes the channel.
            raise SiloUnavailable(f"the channel to silo {silo} was closed during a probe") from None

    async def close_channel(self, silo: SiloAddress) -> None:
        """See `provider.ProbeLine`."""
        await self._channels.discard(silo)

    async def close(self) -> None:
        """See `provider.ProbeLine`."""
        stopped = self._server.stop(0)

        def end() -> None:  # it goes on if this call is cancelled: else the threads would stay for ever
            stopped.wait()
            self._threads.shutdown(wait=False)

        try:
            await self._channels.close()
        finally:
            await blocks(end)

    def _answer_probe(self, data: bytes, context: grpc.ServicerContext) -> bytes:
        """Answer one probe, in a thread. A refused probe counts as unanswered, so it needs no details."""
        try:
            self._check_certificate(context)
            cluster, target, body = decode_question(data)
            if (cluster, target) == (self._cluster, self._me):
                return encode_answer(self._answer(body))
        except ValueError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except HandshakeRefused as error:
            context.abort(grpc.StatusCode.PERMISSION_DENIED, str(error))
        context.abort(
            grpc.StatusCode.FAILED_PRECONDITION,
            f"this is {self._me} of cluster {self._cluster!r}, not the silo that was probed",
        )
        raise AssertionError("abort raises")

    def _check_certificate(self, context: grpc.ServicerContext) -> None:
        """Raise HandshakeRefused for a prober that is no silo; on a port without TLS it shows no certificate."""
        tls = self._tls
        facts = context.auth_context()
        if tls is not None and (tls.required or shows_certificate(facts)):
            certificate = certificate_of(facts, tls)
            try:
                admitted(certificate, self._cluster, ("silo",))
            except HandshakeRefused as refused:
                tls.on_refused(refused.code, str(refused))
                raise


def _not_serving(_: bytes) -> bytes:
    raise ValueError("this silo does not answer probes yet")
