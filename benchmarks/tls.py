"""The cost of TLS for calls between two processes, and how many handshakes a silo takes: `python -m benchmarks.tls`.

Four silos run in processes of their own: by gRPC and by plain sockets, each with TLS and without. This process calls
them in alternating rounds, so that other programs of the machine disturb all alike; a figure is the median of the
rounds.
"""

import argparse
import asyncio
import gc
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import uvloop

from benchmarks.contestants.grange_ import Echo
from benchmarks.processes import ROOT
from grange.client import Client, ClientOptions
from grange.proto.handshake import Hello, Role
from grange.proto.ids import split_endpoint
from grange.security.material import OF_CLIENT
from grange.security.options import TlsOptions
from grange.silo import Silo
from grange.silo.config import SiloConfig
from grange.testing.certificates import CertificateAuthority
from grange.transport.grpc import GrpcTransport
from grange.transport.options import TransportOptions
from grange.transport.provider import Connection, Receiver, Transport
from grange.transport.tcp import TcpTransport
from grange.transport.tls import Tls
from grange.transport.tls_material import open_material

ROADS = ("grpc", "tcp")
PROTECTIONS = ("plain", "tls")

FEWEST, SLOWEST, HANDSHAKES = 0.8, 1.2, 200.0
"""Targets: calls a second with TLS as a share of those without, the same for p50, and handshakes a second."""

_CALLERS, _CALLS, _ALONE, _DIALS, _AT_ONCE = 100, 10_000, 1_000, 200, 8

Kind = tuple[str, str]
Measure = Callable[[], Awaitable[tuple[float, float]]]


def main() -> None:
    """Measure, print the table, and write the figures if that is asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tls", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=11, metavar="N")
    parser.add_argument("--json", metavar="FILE", help="write the figures")
    parser.add_argument("--serve", nargs=3, metavar=("ROAD", "PROTECTION", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        uvloop.run(_serve(*options.serve))
        return
    with tempfile.TemporaryDirectory() as folder:
        found = uvloop.run(_measure(Path(folder), options.rounds))
    for name, value in found.items():
        print(f"{name:48} {value:10,.3f}" if value < 100 else f"{name:48} {value:10,.0f}")
    print(f"targets: at least {FEWEST} of the calls, at most {SLOWEST} of p50, at least {HANDSHAKES:g} handshakes")
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


async def _serve(road: str, protection: str, folder: str) -> None:
    """One silo, until this process is ended. Prints its gateway."""
    files = _options(Path(folder) / "silo")
    tls = {"certificate": files.certificate, "key": files.key, "ca": files.ca} if protection == "tls" else {}
    config = SiloConfig(
        cluster="bench", port=0, gateway_port=0, road=road, data=Path(folder) / f"{road}-{protection}", tls=tls
    )
    async with Silo(grains=[Echo], config=config) as silo:
        print(silo.gateway, flush=True)
        await asyncio.Event().wait()


async def _measure(folder: Path, rounds: int) -> dict[str, float]:
    authority = CertificateAuthority("bench")
    CertificateAuthority.write(folder / "silo", authority.silo())
    of_client = CertificateAuthority.write(folder / "client", authority.client("bench"))
    async with AsyncExitStack() as parts:
        gateways = {kind: await _start(parts, kind, folder) for kind in ((r, p) for r in ROADS for p in PROTECTIONS)}
        measures = {kind: await _caller(parts, kind, gateway, of_client) for kind, gateway in gateways.items()}
        taken = await _rounds(measures, rounds)
        dials = {road: await _dial(road, gateways[road, "tls"], of_client) for road in ROADS}
    found: dict[str, float] = {}
    for road in ROADS:
        calls = {each: statistics.median(rate for rate, _ in taken[road, each]) for each in PROTECTIONS}
        alone = {each: statistics.median(p50 for _, p50 in taken[road, each]) for each in PROTECTIONS}
        for each in PROTECTIONS:
            found[f"{road}, {each}: calls a second, {_CALLERS} callers"] = calls[each]
            found[f"{road}, {each}: microseconds, one caller, p50"] = alone[each] * 1e6
        found[f"{road}: share of the calls a second with TLS"] = calls["tls"] / calls["plain"]
        found[f"{road}: p50 with TLS to that without"] = alone["tls"] / alone["plain"]
        found[f"{road}: handshakes a second with TLS"] = dials[road]
    return found


async def _rounds(measures: dict[Kind, Measure], rounds: int) -> dict[Kind, list[tuple[float, float]]]:
    taken: dict[Kind, list[tuple[float, float]]] = {kind: [] for kind in measures}
    for turn in range(rounds + 1):
        for kind in measures if turn % 2 else reversed(measures):
            gc.collect()
            figures = await measures[kind]()
            if turn:  # the first round warms up
                taken[kind].append(figures)
    return taken


async def _start(parts: AsyncExitStack, kind: Kind, folder: Path) -> str:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.tls", "--serve", *kind, str(folder)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )

    async def end() -> None:
        process.kill()
        await process.wait()

    parts.push_async_callback(end)
    assert process.stdout is not None
    return (await asyncio.wait_for(process.stdout.readline(), 60)).decode().strip()


async def _caller(parts: AsyncExitStack, kind: Kind, gateway: str, tls: TlsOptions) -> Measure:
    road, protection = kind
    options = ClientOptions(road=road)  # type: ignore[arg-type]
    client = Client([gateway], cluster="bench", options=options, tls=tls if protection == "tls" else None)
    await parts.enter_async_context(client)
    grains = [client.get_grain(Echo, f"{each}") for each in range(_CALLERS)]

    async def call(grain: Echo) -> None:
        for value in range(_CALLS // _CALLERS):
            await grain.echo(value)

    async def measure() -> tuple[float, float]:
        begun = time.perf_counter()
        await asyncio.gather(*(call(grain) for grain in grains))
        rate = _CALLS / (time.perf_counter() - begun)
        times: list[float] = []
        for value in range(_ALONE):
            before = time.perf_counter()
            await grains[0].echo(value)
            times.append(time.perf_counter() - before)
        return rate, statistics.median(times)

    return measure


class _Nothing:
    """A receiver for connections that carry no message."""

    def receive(self, messages: object) -> None:
        """Receiver: none comes."""

    def lost(self, unsent: object, error: Exception | None) -> None:
        """Receiver: the connection was closed."""


async def _dial(road: str, gateway: str, tls: TlsOptions) -> float:
    """Connections a second, with the Hello and the end of each, `_AT_ONCE` at a time."""
    host, port = split_endpoint(gateway) or ("", 0)
    receiver: Receiver = _Nothing()
    async with open_material(tls, "bench", OF_CLIENT, lambda _: None) as material:
        protection = Tls(material, "bench")
        options = TransportOptions(connect_timeout=10.0)
        transport: Transport = GrpcTransport(options, protection)
        if road == "tcp":
            port = await _road_port(gateway, tls)
            transport = TcpTransport(options, protection)

        async def dial() -> None:
            for _ in range(_DIALS // _AT_ONCE):
                hello = Hello("bench", Role.CLIENT, "dialler")
                connection: Connection = await transport.connect(host, port, hello, receiver)
                connection.kill()

        begun = time.perf_counter()
        await asyncio.gather(*(dial() for _ in range(_AT_ONCE)))
        rate = _DIALS / (time.perf_counter() - begun)
        await transport.close()
        return rate


async def _road_port(gateway: str, tls: TlsOptions) -> int:
    async with Client([gateway], cluster="bench", tls=tls) as client:
        return client.view.active[0].gateway_road


def _options(folder: Path) -> TlsOptions:
    return TlsOptions(certificate=str(folder / "tls.crt"), key=str(folder / "tls.key"), ca=str(folder / "ca.crt"))


if __name__ == "__main__":
    main()
