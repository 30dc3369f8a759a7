"""The standard health service of gRPC, `grpc.health.v1.Health`, on a port of this transport.

Its messages have one field each, so this file reads and writes them itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import grpc

from grange.errors import HandshakeRefused
from grange.security.certificate import Certificate
from grange.transport.grpc_streams import Context

SERVICE = "grpc.health.v1.Health"

SERVING, NOT_SERVING, SERVICE_UNKNOWN = (bytes((0x08, status)) for status in (1, 2, 3))
"""The three answers: field 1 of HealthCheckResponse, as a varint."""

REQUEST_LIMIT = 127
"""Longest request in bytes: field 1 of HealthCheckRequest, the name of a service."""

POLL = 0.5
"""Seconds between two looks at the state for the streams of `Watch`."""

MAX_WATCHES = 100
"""Streams of `Watch` at a time; further ones are refused."""


class GrpcHealth:
    """The health of the services `names` of one port: all of them are as `is_serving` says, "" too.

    `certificate_of` is the certificate of a caller (None: no TLS), `admits` whether it may ask.
    """

    def __init__(self, certificate_of: Callable[[Context], Certificate | None], *names: str) -> None:
        self._certificate_of = certificate_of
        self._names = {"", *names}
        self._watches = 0
        self._closed = asyncio.Event()
        self.is_serving: Callable[[], bool] = _not_serving
        self.admits: Callable[[Certificate | None], bool] = _without_tls

    @property
    def handler(self) -> grpc.GenericRpcHandler:
        """The handler for the server."""
        check: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(self._check)
        watch: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_stream_rpc_method_handler(self._watch)
        return grpc.method_handlers_generic_handler(SERVICE, {"Check": check, "Watch": watch})

    def close(self) -> None:
        """End the streams of `Watch`: the server waits for them."""
        self._closed.set()

    async def _check(self, request: bytes, context: Context) -> bytes:
        await self._admit(context)
        state = self._state(await _service_of(request, context))
        if state == SERVICE_UNKNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return state

    async def _watch(self, request: bytes, context: Context) -> AsyncIterator[bytes]:
        await self._admit(context)
        name = await _service_of(request, context)
        if self._watches >= MAX_WATCHES:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many streams of Watch")
        self._watches += 1
        try:
            sent = b""
            while not self._closed.is_set():
                if (state := self._state(name)) != sent:
                    sent = state
                    yield state
                await self._pause()
        finally:
            self._watches -= 1

    async def _admit(self, context: Context) -> None:
        """End the call of a peer whose certificate is not for this port."""
        try:
            is_admitted = self.admits(self._certificate_of(context))
        except HandshakeRefused:
            is_admitted = False
        if not is_admitted:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "this port is not for the certificate of the caller")

    async def _pause(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(POLL):
                await self._closed.wait()

    def _state(self, name: str) -> bytes:
        if name not in self._names:
            return SERVICE_UNKNOWN
        return SERVING if self.is_serving() else NOT_SERVING


def _not_serving() -> bool:
    """The state of a port whose silo has not started yet."""
    return False


def _without_tls(certificate: Certificate | None) -> bool:
    """Whether to answer before the silo says which certificates it admits."""
    return certificate is None


async def _service_of(request: bytes, context: Context) -> str:
    """The name in a HealthCheckRequest; ends the call for one that is malformed."""
    try:
        return service_of(request)
    except ValueError as error:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        raise AssertionError("abort raises") from None


def service_of(request: bytes) -> str:
    """The name of the service in a HealthCheckRequest: a string in field 1, or no bytes. Raises ValueError."""
    if not request:
        return ""
    # The tag of field 1, one byte of length (the limit is below 128), and the text.
    if len(request) > REQUEST_LIMIT or request[:1] != b"\x0a" or len(request) < 2 or request[1] != len(request) - 2:
        raise ValueError("not a HealthCheckRequest with the name of one service")
    return request[2:].decode()
