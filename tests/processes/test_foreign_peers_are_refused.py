"""Foreign peers are refused with a reason, and calls go on: other clusters, versions, limits, noise (S11)."""

from __future__ import annotations

import asyncio
import contextlib
import random

import pytest

from grange import CallNotExecuted, InvalidResult, PayloadTooLarge, SiloUnavailable
from grange.client import Client
from grange.client.options import ClientOptions
from grange.errors import HandshakeRefused
from grange.proto.handshake import Hello, Role
from grange.proto.ids import SiloAddress
from grange.servers.process import free_port
from grange.transport.grpc import GrpcTransport
from tests.processes.counters import Probe
from tests.processes.load import load
from tests.processes.silo_process import SiloProcess, Silos
from tests.transport.net import Inbox

MEBIBYTE = 2**20


async def test_a_client_of_another_cluster_gets_both_names(silos: Silos) -> None:
    silo = await silos.run("--cluster", "orange")
    with pytest.raises(HandshakeRefused, match=r"orange.*lemon") as caught:
        async with Client([silo.gateway], cluster="lemon"):
            pass
    assert caught.value.code == "wrong-cluster"
    async with Client([silo.gateway], cluster="orange") as client:
        assert await client.get_grain(Probe, "ann").pid() == silo.pid
    assert await silo.stop() == 0


async def test_a_gateway_that_does_not_answer_is_named(silos: Silos) -> None:
    gateway = f"127.0.0.1:{free_port()}"
    with pytest.raises(SiloUnavailable, match=gateway) as caught:
        async with Client([gateway], options=ClientOptions(connect_timeout=0.5)):
            pass
    assert isinstance(caught.value, CallNotExecuted)


def ports(silo: SiloProcess) -> dict[Role, int]:
    return {Role.SILO: silo.address.port, Role.CLIENT: int(silo.gateway.rpartition(":")[2])}


async def refusal(port: int, hello: Hello) -> HandshakeRefused:
    transport = GrpcTransport()
    try:
        with pytest.raises(HandshakeRefused) as caught:
            await transport.connect("127.0.0.1", port, hello, Inbox())
        return caught.value
    finally:
        await transport.close()


async def test_each_port_accepts_only_its_peers(silos: Silos) -> None:
    """Refused: another protocol version, a silo at the gateway port, a client at the silo port."""
    silo = await silos.run()
    me = SiloAddress("127.0.0.1", 1, 1)
    for role, port in ports(silo).items():
        newer = await refusal(port, Hello("default", role, "newer", me, protocol_min=99, protocol_max=99))
        assert newer.code == "protocol-version"
        assert "supports protocol 1 to 1, the caller 99 to 99; upgrade the older side" in str(newer)
        other = Role.SILO if role is Role.CLIENT else Role.CLIENT
        wrong = await refusal(port, Hello("default", other, "other", me))
        assert wrong.code == "wrong-port"
        assert "gateway port" in str(wrong)
    assert await silo.stop() == 0


async def test_a_payload_over_the_limit_is_refused_in_both_directions(silos: Silos) -> None:
    """The sender refuses it; for a result the error says that the method was executed. The connection stays."""
    silo = await silos.run()
    async with Client([silo.gateway]) as client:
        probe = client.get_grain(Probe, "ann")
        with pytest.raises(PayloadTooLarge, match="limit is") as caught:
            await probe.take(bytes(5 * MEBIBYTE))
        assert caught.value.size > caught.value.limit > 3 * MEBIBYTE
        with pytest.raises(InvalidResult, match="was executed"):
            await probe.make(5 * MEBIBYTE)
        assert await probe.take(bytes(3 * MEBIBYTE)) == 3 * MEBIBYTE
        assert len(await probe.make(3 * MEBIBYTE)) == 3 * MEBIBYTE
    assert await silo.stop() == 0


async def test_noise_on_both_ports_disturbs_no_call(silos: Silos) -> None:
    first, second = await silos.run_two()
    rng = random.Random(5)
    noises = [
        b"GET / HTTP/1.1\r\nHost: grange\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + rng.randbytes(2000),
        bytes(10_000),
        *(rng.randbytes(rng.randrange(1, 5000)) for _ in range(20)),
    ]
    async with Client([first.gateway, second.gateway]) as client:
        await client.wait_for([first.address, second.address])
        async with load(client, ["ann", "bob", "eve", "joe"]) as book:
            await book.more(1)
            for silo in (first, second):
                for port in ports(silo).values():
                    await asyncio.gather(*(send_noise(port, noise) for noise in noises))
            await book.more(20)
        assert len(client.view.active) == 2
    for silo in (first, second):
        assert await silo.stop() == 0
        assert "Traceback" not in silo.errors


async def send_noise(port: int, noise: bytes) -> None:
    """Send bytes, and wait until the silo has closed the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.timeout(30):
        with contextlib.suppress(OSError):  # the silo may close the connection in the middle
            writer.write(noise)
            writer.write_eof()
            while await reader.read(65536):
                pass
    writer.close()
