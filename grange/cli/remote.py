"""The cluster that a command asks as a client: the options that name it, its gateways, and the connection."""

from __future__ import annotations

import asyncio
import functools
import math
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import AsyncExitStack, contextmanager, nullcontext
from importlib import import_module
from types import MappingProxyType
from typing import Any, TypeVar

import click
import msgspec

from grange.cli.exit_codes import exit_code
from grange.cli.here import Here, plain_here
from grange.cli.naming import naming_options
from grange.cli.output import Output
from grange.cli.streams import complain, json_text
from grange.cli.token import find_token
from grange.client.client import Client
from grange.client.options import ClientOptions
from grange.databases.sqlite import is_there, path_of
from grange.databases.urls import scheme_of, shown_url
from grange.errors import GrangeError, MembershipError, MembershipUnavailable, SiloUnavailable
from grange.membership.model.member import Member, SiloStatus
from grange.membership.providers.rows import table_errors
from grange.membership.urls import open_table
from grange.option_ranges import LONGEST
from grange.printable import printable
from grange.proto.ids import endpoint_of
from grange.security.options import FILES

T = TypeVar("T")

NO_FILES: Mapping[str, str] = MappingProxyType({})
"""No files of TLS."""

MOST_GATEWAYS = 5
"""Gateways of the membership table that are tried at most, those of the silos that wrote last."""


class Seconds(click.FloatRange):
    """A finite number of seconds, at least `least`."""

    def __init__(self, least: float) -> None:
        super().__init__(least, LONGEST)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """click.ParamType: the number."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is not a number of seconds", param, ctx)
        return number


class Gateways(msgspec.Struct, frozen=True):
    """The gateways of a cluster, and in words where they were found; empty if the user named them.

    `lack`: why the membership table names no gateway; empty if it does or was not read.
    """

    places: tuple[str, ...]
    origin: str = ""
    lack: str = ""


class RemoteCluster(msgspec.Struct, frozen=True):
    """A cluster named `name`, to be reached within `connect_timeout` seconds.

    `gateways` are those that the user named. Without any they come from the membership table, or `here_only` from the
    configuration of this machine's own silo. `token_file` is the one that the user named. `tls` are the files of TLS:
    those that the user named, the others as configured here; without any there is no TLS.
    """

    name: str
    here: Here
    gateways: tuple[str, ...] = ()
    here_only: bool = False
    connect_timeout: float = 3.0
    is_quiet: bool = False
    token_file: str = ""
    tls: Mapping[str, str] = {}

    def ask(self, question: Callable[[Client], Awaitable[T]], response_timeout: float = 30.0) -> T:
        """Connect, run `question` with the client, disconnect. Returns its result or raises its error."""

        async def connected() -> T:
            found = await self.find()
            if found.origin and not self.is_quiet:
                complain(printable(f"asking {', '.join(found.places)}, {found.origin}"))
            client = Client(
                found.places,
                cluster=self.name,
                name="grange-cli",
                token=find_token(
                    self.here, self.token_file, found.places, is_own_table=not (self.gateways or self.here.membership)
                ),
                response_timeout=response_timeout,
                options=ClientOptions(connect_timeout=self.connect_timeout),
                tls=self.tls or None,
            )
            async with AsyncExitStack() as parts:
                try:
                    await parts.enter_async_context(client)
                except SiloUnavailable as error:
                    if not found.lack:
                        raise
                    raise SiloUnavailable(f"{found.lack}, and {error}") from error
                return await question(client)

        return asyncio.run(connected())

    async def find(self) -> Gateways:
        """The gateways to ask. Raises MembershipUnavailable for a table that was named and cannot be reached."""
        if self.gateways:
            return Gateways(self.gateways)
        host = "127.0.0.1" if self.here.host in ("0.0.0.0", "::") else self.here.host  # noqa: S104 compared, not bound
        here = endpoint_of(host, self.here.gateway_port)
        if self.here_only:
            return Gateways((here,))
        place = f"the membership table {shown_url(self.here.membership_url)}"
        try:
            found = await gateways_of(self.here, self.connect_timeout, has_tls=bool(self.tls))
        except MembershipError as error:
            if self.here.membership:
                raise MembershipUnavailable(f"{error}; name a gateway by --gateway to do without the table") from error
            lack = f"{place} cannot be read: {error}"
        else:
            if found:
                return Gateways(found, f"found in {place}")
            lack = f"{place} lists no active silo"
        return Gateways((here,), f"because {lack}", lack)


async def gateways_of(here: Here, seconds: float, has_tls: bool = False) -> tuple[str, ...]:
    """The gateways of the active silos in the membership table (with TLS: those ports); none if there is no table yet.

    Raises MembershipError for a table that cannot be read within `seconds`.
    """
    with here.naming():
        if scheme_of(here.membership_url) == "memory":
            return ()
        with table_errors():
            if scheme_of(here.membership_url) == "sqlite" and not is_there(path_of(here.membership_url)):
                return ()  # a question must not create a table
        try:
            async with asyncio.timeout(seconds), open_table(here.membership_url, here.cluster) as table:
                rows = (await table.read()).rows
        except TimeoutError:
            raise MembershipUnavailable(f"it did not answer within {seconds:g} s") from None
    open_ones = [row.member for row in rows if row.member.status is SiloStatus.ACTIVE and row.member.gateway]
    newest = sorted(open_ones, key=_alive, reverse=True)[:MOST_GATEWAYS]
    return tuple(endpoint_of(member.address.host, _port_of(member, has_tls)) for member in newest)


def _port_of(member: Member, has_tls: bool) -> int:
    return member.gateway_tls or member.gateway if has_tls else member.gateway


def _alive(member: Member) -> float:
    return member.alive.timestamp()


def asks_a_cluster(command: Callable[..., None]) -> Callable[..., None]:
    """Decorator of a command that is a client: adds its options, which become its arguments `cluster` and `output`."""

    @click.option(
        "--gateway", multiple=True, metavar="HOST:PORT", help="Gateway of a silo (default: see --membership)."
    )
    @click.option("--membership", metavar="URL", help="Table with the gateways (default: as a silo here would use).")
    @click.option("--here", is_flag=True, help="Ask the silo that is configured here, by its own gateway.")
    @click.option("--cluster", help="Name of the cluster.")
    @click.option(
        "--token-file", metavar="FILE", default="", help="Secret of a role (default: as a silo here would use)."
    )
    @click.option(
        "--tls-certificate", metavar="FILE", help="Certificate of an admin or client (default: as configured)."
    )
    @click.option("--tls-key", metavar="FILE", help="Its private key.")
    @click.option("--tls-ca", metavar="FILE", help="The authorities that sign the certificates of the silos.")
    @click.option(
        "--connect-timeout", type=Seconds(0.1), default=3.0, show_default=True, help="Seconds to find a gateway."
    )
    @click.option("--json", "as_json", is_flag=True, help="Show the answer as JSON.")
    @functools.wraps(command)
    def wrapped(gateway: tuple[str, ...], membership: str | None, here: bool, as_json: bool, **options: Any) -> None:
        named = sum((bool(gateway), membership is not None, here))
        if named > 1:
            raise click.UsageError("--gateway, --membership and --here exclude one another")
        shared = {name: options.pop(name) for name in ("cluster", "token_file", "connect_timeout")}
        files = {name: value for name in FILES if (value := options.pop(f"tls_{name}")) is not None}
        with _errors_as_json() if as_json else nullcontext():
            remote = remote_cluster(gateway, membership, here, is_quiet=as_json, tls=files, **shared)
            with naming_options({"membership"} if membership is not None else ()):
                command(remote, Output(as_json), **options)

    return wrapped


@contextmanager
def _errors_as_json() -> Generator[None]:
    """Report an error of grange as an object on standard error, with its exit code; `--debug` shows the traceback."""
    try:
        yield
    except GrangeError as error:
        if click.get_current_context().find_root().params.get("debug"):
            raise
        facts = {"error": {"type": type(error).__name__, "message": str(error)}}
        complain(json_text(msgspec.json.encode(facts)))
        raise click.exceptions.Exit(exit_code(error)) from None


def remote_cluster(
    gateways: tuple[str, ...] = (),
    membership: str | None = None,
    here: bool = False,
    *,
    cluster: str | None = None,
    tls: Mapping[str, str] = NO_FILES,
    **reach: Any,
) -> RemoteCluster:
    """The cluster that these options name; the rest as a silo here would be configured.

    `tls` are the files of TLS that were named. `reach` are the other last fields of `RemoteCluster`.
    """
    options = (("membership", membership), ("cluster", cluster))
    given = {name: value for name, value in options if value is not None}
    with naming_options(given):
        configured = plain_here(given) or import_module("grange.cli.configured_here").configured_here(given)
    return RemoteCluster(configured.cluster, configured, gateways, here, tls=_files(tls, configured.tls), **reach)


def _files(named: Mapping[str, str], configured: Mapping[str, str]) -> Mapping[str, str]:
    """The files of TLS. Raises UsageError for a certificate without its key, and for a part of the three."""
    if ("certificate" in named) != ("key" in named):
        raise click.UsageError("--tls-certificate and --tls-key belong together: give both")
    files = {**configured, **named}
    if missing := [f"--tls-{name}" for name in FILES if files and name not in files]:
        raise click.UsageError(f"TLS needs a certificate, its key and the authorities: give {', '.join(missing)}, too")
    return files
