"""The network of a client: gRPC or the faster road, with TLS or without, and which ports of the gateways it takes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, cast

import msgspec

from grange.errors import ConfigurationError
from grange.membership.model.member import SiloStatus, View
from grange.observability.events import Events
from grange.proto.ids import endpoint_of
from grange.security.material import OF_CLIENT
from grange.security.options import TlsOptions
from grange.security.renewal import RenewalTimes
from grange.transport.grpc import GrpcTransport
from grange.transport.options import TransportOptions
from grange.transport.provider import Transport
from grange.transport.roads import TwoRoads
from grange.transport.tls import Tls
from grange.transport.tls_material import open_material

TlsTable = TlsOptions | Mapping[str, Any]
"""The options of TLS of a client: as an object, or as a table with the same names."""


def as_client_tls(given: TlsTable | None) -> TlsOptions | None:
    """The options of TLS for a client. Raises ConfigurationError for wrong ones, and for those that only silos have."""
    if given is None:
        return None
    if isinstance(given, TlsOptions):
        options = given
    elif isinstance(cast("object", given), Mapping):
        try:
            options = msgspec.convert(dict(given), TlsOptions)
        except msgspec.ValidationError as error:
            raise ConfigurationError(f"tls= of a client: {error.__cause__ or error}") from None
        if unknown := sorted(set(given) - set(TlsOptions.__struct_fields__)):
            raise ConfigurationError(f"tls= of a client has no option {unknown[0]!r}")
    else:
        raise ConfigurationError("tls= of a client is a TlsOptions, or a table with certificate, key and ca")
    options.check_for_client()
    return options


@asynccontextmanager
async def open_transport(
    options: TransportOptions, road: str, tls: TlsOptions | None, cluster: str, name: str
) -> AsyncGenerator[Transport]:
    """The network of one client. With `tls` every connection uses it, and the files are looked at again and again.

    Raises ConfigurationError if they cannot be used.
    """
    async with AsyncExitStack() as parts:
        protection = None
        if tls is not None:
            events = Events(f"client {name!r}")
            material = await parts.enter_async_context(open_material(tls, cluster, OF_CLIENT, events.publish))
            protection = Tls(material, cluster, times=RenewalTimes.of(tls))
        transport = TwoRoads(options, protection) if road == "tcp" else GrpcTransport(options, protection)
        parts.push_async_callback(transport.close)
        yield transport


def learn_ports(transport: Transport, view: View) -> None:
    """Tell the network which gateways have a faster road and TLS: the ports of silos that are not dead."""
    living = [
        (endpoint_of(member.address.host, member.gateway), member)
        for member in view.members
        if member.status is not SiloStatus.DEAD
    ]
    if transport.tls is not None:
        transport.tls.learn({endpoint: member.gateway_tls for endpoint, member in living if member.gateway_tls})
    if transport.road is not None:
        transport.road.learn({endpoint: member.gateway_road for endpoint, member in living if member.gateway_road})
