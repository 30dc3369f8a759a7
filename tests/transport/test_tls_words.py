"""What a program is told when a port is not what it expects, and that nothing else hides it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from grange.errors import SiloUnavailable
from grange.proto.handshake import Hello, Role
from grange.testing.certificates import CertificateAuthority
from grange.transport.grpc import GrpcTransport
from grange.transport.options import TransportOptions
from grange.transport.tls_contexts import server_context
from tests.transport.net import CLUSTER, Inbox
from tests.transport.pairs import Pairs

LOOPBACK = "127.0.0.1"

PROGRAM = """
import asyncio, sys
from grange.client import Client
from grange.client.options import ClientOptions
from grange.security.options import TlsOptions

async def main():
    options = ClientOptions(connect_timeout=0.3)
    async with Client([sys.argv[1]], cluster="test", tls=TlsOptions.of_folder(sys.argv[2]), options=options):
        pass

asyncio.run(main())
"""
"""A program of a user: it imports the client, and sets no variable."""


def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def test_a_port_with_tls_that_is_none_of_silos_is_named_as_such() -> None:
    """The admin port has the same certificate, and speaks HTTP/1.1."""
    pairs = Pairs(CLUSTER)
    context = server_context(pairs.silo().material.current)
    context.set_alpn_protocols(["http/1.1"])
    transport = GrpcTransport(TransportOptions(connect_timeout=5.0), pairs.client())
    try:
        async with await asyncio.start_server(hang_up, LOOPBACK, 0, ssl=context) as server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(SiloUnavailable, match=r"is none of silos or gateways; is it that of `http`\?"):
                await transport.connect(LOOPBACK, port, Hello(CLUSTER, Role.CLIENT, "tester"), Inbox())
    finally:
        await transport.close()


async def test_grpc_writes_no_lines_of_its_own_about_handshakes_that_fail(tmp_path: Path) -> None:
    CertificateAuthority.write(tmp_path, CertificateAuthority(CLUSTER).client("web"))

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"no TLS here, and nothing that looks like it")
        writer.close()

    async with await asyncio.start_server(answer, LOOPBACK, 0) as server:
        place = f"{LOOPBACK}:{server.sockets[0].getsockname()[1]}"
        command = (sys.executable, "-c", PROGRAM, place, str(tmp_path))
        ran = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
        _, errors = await ran.communicate()
    assert b"the port does not use TLS" in errors
    assert b"ssl_transport_security" not in errors
