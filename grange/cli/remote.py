"""The cluster that a command asks as a client: the options that name it, and the connection."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import click
import msgspec

from grange.cli.output import Output
from grange.client.client import Client
from grange.client.options import ClientOptions
from grange.silo.config import SiloConfig

T = TypeVar("T")


class RemoteCluster(msgspec.Struct, frozen=True):
    """A cluster named `name`, reached at `gateways` within `connect_timeout` seconds."""

    gateways: tuple[str, ...]
    name: str
    connect_timeout: float

    def ask(self, question: Callable[[Client], Awaitable[T]], response_timeout: float = 30.0) -> T:
        """Connect, run `question` with the client, disconnect. Returns its result or raises its error."""
        options = ClientOptions(connect_timeout=self.connect_timeout)

        async def connected() -> T:
            async with Client(
                self.gateways,
                cluster=self.name,
                name="grange-cli",
                response_timeout=response_timeout,
                options=options,
            ) as client:
                return await question(client)

        return asyncio.run(connected())


def asks_a_cluster(command: Callable[..., None]) -> Callable[..., None]:
    """Decorator of a command that is a client: adds its options, which become its arguments `cluster` and `output`.

    The defaults name the cluster of a silo that is configured here.
    """

    @click.option("--gateway", multiple=True, metavar="HOST:PORT", help="Gateway of a silo (default: of the one here).")
    @click.option("--cluster", help="Name of the cluster.")
    @click.option(
        "--connect-timeout",
        type=click.FloatRange(0.1),
        default=3.0,
        show_default=True,
        help="Seconds to find a gateway.",
    )
    @click.option("--json", "as_json", is_flag=True, help="Show the answer as JSON.")
    @functools.wraps(command)
    def wrapped(
        gateway: tuple[str, ...], cluster: str | None, connect_timeout: float, as_json: bool, **own_options: Any
    ) -> None:
        # insecure and advertise: nothing listens here, so these checks of a silo's configuration must not fail
        here = SiloConfig(insecure=True, advertise="localhost")
        host = "127.0.0.1" if here.host in ("0.0.0.0", "::") else here.host
        gateways = gateway or (f"{host}:{here.gateway_port}",)
        command(RemoteCluster(gateways, cluster or here.cluster, connect_timeout), Output(as_json), **own_options)

    return wrapped
