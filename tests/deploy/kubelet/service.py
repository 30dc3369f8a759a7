"""A Service with one address: each new connection goes to a ready pod, in turns; an old one stays where it is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

from deploy.source.workload import GATEWAY_PORT
from tests.processes.faults.network import HUB, Namespaces


class Service:
    """Forwards connections to the gateway port of ready pods, at an address of the hub."""

    def __init__(self, network: Namespaces, ready: Callable[[], list[str]]) -> None:
        self._network = network
        self._ready = ready
        self._connections: set[asyncio.Task[None]] = set()
        self._turn = 0
        self.address = ""

    async def __aenter__(self) -> Self:
        listener = self._network.listener(HUB)
        host, port = listener.getsockname()
        self.address = f"{host}:{port}"
        self._server = await asyncio.start_server(self._accept, sock=listener)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._connections:
            task.cancel()
        if self._connections:
            await asyncio.wait(self._connections)
        await self._server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._forward(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            ready = self._ready()
            if not ready:
                return
            self._turn += 1
            pod = self._network.socket(HUB)
            pod.setblocking(False)
            try:
                await asyncio.get_running_loop().sock_connect(pod, (ready[self._turn % len(ready)], GATEWAY_PORT))
            except BaseException:
                pod.close()
                raise
            pod_reader, pod_writer = await asyncio.open_connection(sock=pod)
            try:
                pumps = (_pump(reader, pod_writer), _pump(pod_reader, writer))
                await asyncio.wait([asyncio.create_task(pump) for pump in pumps], return_when=asyncio.FIRST_COMPLETED)
            finally:
                pod_writer.close()
        except OSError:
            pass  # the pod went away; its end is the end of the connection
        finally:
            writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until one side ends."""
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
