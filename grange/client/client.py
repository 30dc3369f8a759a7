"""`Client` calls grains from outside the cluster: `async with Client(["127.0.0.1:30000"]) as client:`."""

from __future__ import annotations

import asyncio
import inspect
import random
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack, cast

from grange.aio.loop_binding import LoopBinding
from grange.aio.tasks import Tasks
from grange.aio.uninterrupted import uninterrupted
from grange.client.events import Listeners, OnConnectFailure, OnConnectionChange
from grange.client.gateways import Gateways
from grange.client.options import ClientOptions
from grange.client.transports import TlsTable, as_client_tls, learn_ports, open_transport
from grange.errors import CallerClosed, ConfigurationError, HandshakeRefused, SiloUnavailable
from grange.grains.definition import Addressable
from grange.grains.enumeration import CallsGrains
from grange.grains.filters import Filter, as_filters
from grange.grains.finding import FindOptions, GrainFinder, ListOptions, StoredGrain
from grange.grains.observer import GrainObserver
from grange.grains.ref import GrainFactory, ReferenceExtension
from grange.management import ClusterManagement, TypeHosts
from grange.membership.model.member import Member, View
from grange.observability.certificate_events import ConnectionKept
from grange.observability.events import Events
from grange.observability.spans import Spans
from grange.observability.telemetry import Process, Telemetry, as_telemetry
from grange.observability.tracing import tracing
from grange.proto.clients import KEY_BYTES, client_id, grain_id_of_client
from grange.proto.faults import Clash, Faults
from grange.proto.handshake import Hello, Role, check_token
from grange.proto.ids import GrainId, SiloAddress
from grange.proto.keys import Key
from grange.proto.values import ValueCodec
from grange.runtime.calls.admission import Admission
from grange.runtime.calls.caller import Caller
from grange.runtime.calls.filtered import FilteredCalls
from grange.runtime.calls.link import Link
from grange.runtime.calls.outgoing import CallerDeps
from grange.runtime.calls.sender import Sender
from grange.runtime.calls.traced import TracedCalls
from grange.runtime.gate import Gate
from grange.runtime.observers.client_end import ClientEnd, ClientEndDeps
from grange.runtime.observers.host import HostDeps, ObserverHost
from grange.runtime.options import RuntimeOptions
from grange.runtime.requests.deadlines import Deadlines
from grange.runtime.requests.plan import Plans
from grange.transport.options import TransportOptions
from grange.transport.peers import Peers
from grange.transport.provider import Transport

G = TypeVar("G", bound=Addressable)
O = TypeVar("O", bound=GrainObserver)  # noqa: E741

RETRY_PAUSE = 0.2
"""Seconds between a failure to connect and the next attempt, after `on_connect_failure` asked for one."""


class Client:
    """A client of one cluster, connected inside its `async with`. One object connects once.

    `gateways` are the `host:port` of some silos. The client learns the others from them, and calls fail over between
    all of them. `errors` are your exception classes that calls may raise as themselves; those in `errors=` of a grain
    class are known already. `outgoing_filters` run around its calls and `incoming_filters` around those to its
    observers, in the order of the lists. `token` is a secret: that of a role in management (`ask`), or one for which
    the `authenticate=` of the silos has the identity of a user, whose calls those of this client are then.
    `tls` are the files of its certificate (`TlsOptions`, or a table with `certificate`, `key` and `ca`): every
    connection uses TLS then. `response_timeout` is in seconds. `transport` replaces the network in tests. `telemetry`
    traces the calls (`grange.observability.Telemetry`).

    Entering raises SiloUnavailable if no gateway answers, HandshakeRefused for a wrong cluster or version, and
    RuntimeError if it is or was connected. A client belongs to the event loop and the process that entered it: used in
    another, it and its references raise WrongLoop. After its `async with` they raise CallerClosed.

    `on_connect_failure` is awaited first and may ask for another attempt. A connected client searches for gateways as
    long as none answers. `on_connection_change` registers a listener for gateways lost and found.
    """

    def __init__(
        self,
        gateways: Sequence[str],
        *,
        cluster: str = "default",
        name: str = "client",
        token: str = "",
        errors: Iterable[type[Exception]] = (),
        response_timeout: float = 30.0,
        options: ClientOptions | None = None,
        on_connect_failure: OnConnectFailure | None = None,
        incoming_filters: Iterable[Filter] = (),
        outgoing_filters: Iterable[Filter] = (),
        telemetry: Telemetry | None = None,
        tls: TlsTable | None = None,
        transport: Transport | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._seeds = _checked_texts(gateways, cluster, name)
        self._chance = rng or random.SystemRandom()
        self._hello = Hello(cluster, Role.CLIENT, name, token=_checked(token), client_key=_new_key(self._chance))
        self._faults = Faults(_checked_errors(errors))
        self._options = options or ClientOptions()
        self._on_connect_failure = on_connect_failure
        self._telemetry = as_telemetry(telemetry)
        self._listeners = Listeners()
        self._incoming_filters = as_filters("incoming_filters", incoming_filters)
        self._outgoing_filters = as_filters("outgoing_filters", outgoing_filters)
        self._runtime = RuntimeOptions(response_timeout=response_timeout)
        self._tls = as_client_tls(tls)
        if transport is not None and tls is not None:
            raise ConfigurationError("tls= of a client has no effect with transport=; give one of them")
        self._transport = transport
        self._random = rng or random.Random()  # noqa: S311 no secret
        self._parts = AsyncExitStack()
        self._entered = False
        self._grains: GrainFactory | None = None

    def get_grain(self, grain: type[G], key: Key, *, implementation: str | None = None) -> G:
        """A reference to a grain, typed as its class. Does no I/O; see `GrainFactory.get_grain`."""
        return self._connected.get_grain(grain, key, implementation=implementation)

    def list_grains(self, grain: type[G], **options: Unpack[ListOptions]) -> AsyncGenerator[StoredGrain[G]]:
        """The stored grains of a class, page by page: see `GrainFinder.list_grains`."""
        return self._finder.list_grains(grain, **options)

    def find_grains(
        self, grain: type[G], where: Mapping[str, Any], **options: Unpack[FindOptions]
    ) -> AsyncGenerator[G]:
        """The grains with these values in indexed fields, page by page: see `GrainFinder.find_grains`."""
        return self._finder.find_grains(grain, where, **options)

    def create_observer(self, observer: O) -> O:
        """A reference to an object, which grains may call from now on: pass it to them as an argument.

        The object stays with this client until `delete_observer`. Its calls run one at a time, in this event loop. A
        silo finds the client wherever it is connected, also after its gateway has gone; when the client has gone, the
        calls raise ObserverGone. Raises TypeError for a grain, a reference, and any other object that is no observer.
        """
        grains = self._connected
        self._binding.check("Client.create_observer")
        reference = self._observers.create(observer, grains)
        self._gateways.keep_home(grain_id_of_client(self._observers.client))
        return reference

    def delete_observer(self, reference: GrainObserver) -> bool:
        """End the observer behind a reference: its waiting and later calls raise ObserverGone at their callers.

        A call that runs completes. Returns whether this client had the observer.
        """
        self._check("Client.delete_observer")
        return self._observers.delete(reference)

    @property
    def observers(self) -> int:
        """The number of observers of this client."""
        _ = self._connected
        return len(self._observers)

    def on_connection_change(self, listener: OnConnectionChange) -> Callable[[], None]:
        """Call `listener` with each GatewayFound, GatewayLost, ClusterLost and ClusterFound from now on.

        Returns a function that removes the listener. A listener added before `async with` gets the first gateways too.
        Raises TypeError for an `async def`, because listeners are not awaited; start a task in the listener.
        """
        if inspect.iscoroutinefunction(listener):
            raise TypeError(
                f"{listener!r} is an async function; a listener is called and not awaited: start a task in it"
            )
        return self._listeners.add(listener)

    @property
    def connected(self) -> bool:
        """Whether a gateway answered the last request for the view; false outside of `async with`."""
        return self._grains is not None and not self._gateways.cut_off

    @property
    def view(self) -> View:
        """The last view of the cluster that a gateway sent."""
        _ = self._connected
        return self._gateways.view

    @property
    def gateways(self) -> tuple[SiloAddress, ...]:
        """The gateways of all active silos, as addresses for `ask`."""
        _ = self._connected
        return self._gateways.all()

    async def wait_for(self, active: Collection[SiloAddress]) -> None:
        """Wait until the gateways show exactly these silos as active."""
        self._check("Client.wait_for")
        await self._gateways.wait_for(set(active))

    @property
    def management(self) -> ClusterManagement:
        """The management of the cluster, with the role of this client's `token`."""
        return ClusterManagement(self._ask_member, lambda: self.view, self._hello.name)

    async def ask(self, gateway: SiloAddress, service: str, question: bytes = b"", seconds: float = 5.0) -> bytes:
        """Send a request to a management service of one silo. The command line and tools use it.

        Raises Unauthorized (certainly not executed) if the `token` of this client does not allow it.
        """
        self._check("Client.ask")
        return await self._sender.ask(gateway, service, question, seconds)

    @property
    def _finder(self) -> GrainFinder:
        return GrainFinder(self._connected, TypeHosts(self._ask_member, lambda: self.view, self._random))

    async def _ask_member(self, member: Member, service: str, question: bytes, seconds: float) -> bytes:
        """Ask a silo by its gateway. Raises SiloUnavailable for one without."""
        if not member.gateway:
            raise SiloUnavailable(f"silo {member.address} has no gateway, so a client cannot ask it")
        gateway = SiloAddress(member.address.host, member.gateway, member.address.generation)
        return await self.ask(gateway, service, question, seconds)

    async def call_json(self, grain_id: GrainId, method: str, args: bytes, seconds: float | None = None) -> bytes:
        """Call a grain without its class, with arguments and result in JSON. Raises the errors of a typed call."""
        self._check("Client.call_json")
        return await self._caller.call_json(grain_id, method, args, seconds)

    async def __aenter__(self) -> Self:
        if self._entered:
            raise RuntimeError("this client is or was connected; make a new Client for another `async with`")
        self._entered = True
        parts = AsyncExitStack()
        try:
            await self._connect(parts)
        except BaseException:
            self._entered = False
            await uninterrupted(parts.aclose())  # a second cancellation must not leave parts behind
            raise
        self._parts = parts
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._grains is None or (error is not None and self._binding.is_in_fork):  # let a fork end as it ends
            return
        self._check("the end of the client's `async with`")
        self._grains = None
        self._caller.end()
        await self._observers.close()
        self._sender.abandon("this client was closed before the answer came")
        await self._parts.aclose()

    async def _connect(self, parts: AsyncExitStack) -> None:
        transport, options = self._transport, TransportOptions()
        if transport is None:
            names = self._hello.cluster, self._hello.name
            transport = await parts.enter_async_context(open_transport(options, self._options.road, self._tls, *names))
        spans = await self._open_tracing(parts)
        deadlines, references, tasks = Deadlines(), ReferenceExtension(), Tasks()
        parts.callback(deadlines.close)
        self._sender = Sender(deadlines, self._faults)
        peers = Peers(transport, lambda _: self._hello, self._receiver_for, options, self._random)
        events = Events(f"client {self._hello.name!r}")
        peers.on_kept = lambda gateway, problem: events.publish(ConnectionKept(str(gateway), problem))
        self._sender.connect_through(peers)
        parts.push_async_callback(peers.close)
        self._gateways = Gateways(
            self._seeds, self._options, self._random, partial(_forget, peers, self._sender), self._listeners,
            partial(learn_ports, transport),
        )  # fmt: skip
        plans = Plans(ValueCodec([references]), self._runtime.payload_limit)
        self._binding = LoopBinding("this client")
        deps = CallerDeps(self._sender, self._faults, deadlines, self._runtime, self._binding)
        self._observers = self._new_host(plans)
        parts.push_async_callback(self._observers.close)
        admission = Admission(self._runtime, figures=deps.figures)
        self._end_deps = ClientEndDeps(self._observers.deliver, self._faults, admission, spans)
        self._caller = Caller(deps, self._gateways, plans, self._random)
        parts.push_async_callback(self._caller.close)
        learn = partial(self._faults.register, clash=Clash.REPLACE)
        call: CallsGrains = self._caller.call if spans is None else TracedCalls(self._caller.call, spans)
        if self._outgoing_filters:
            call = FilteredCalls(call, plans, self._outgoing_filters)
        grains = GrainFactory(call, self._gateways.implementations, learn)
        references.bind(grains)
        await self._find_cluster()
        parts.push_async_callback(tasks.close)
        tasks.start(self._gateways.keep_fresh(self._sender.ask))
        parts.callback(self._gateways.close)
        self._grains = grains

    def _new_host(self, plans: Plans) -> ObserverHost:
        return ObserverHost(
            client_id(self._hello.client_key),
            plans,
            self._incoming_filters,
            HostDeps(Gate(), self._runtime.mailbox_limit),
            partial(self._chance.getrandbits, 64),
        )

    async def _open_tracing(self, parts: AsyncExitStack) -> Spans | None:
        process = Process(service=self._hello.name, cluster=self._hello.cluster, name=self._hello.name)
        return await parts.enter_async_context(tracing(self._telemetry, process, self._random))

    async def _find_cluster(self) -> None:
        attempts = 0
        while True:
            try:
                await self._gateways.find(self._sender.ask)
                return
            except (SiloUnavailable, HandshakeRefused) as error:
                attempts += 1
                if self._on_connect_failure is None or not await self._on_connect_failure(error, attempts):
                    raise
            await asyncio.sleep(RETRY_PAUSE)

    @property
    def _connected(self) -> GrainFactory:
        if self._grains is None and self._entered:
            raise CallerClosed("this client is closed, or still connecting; use it inside its `async with`")
        if self._grains is None:
            raise RuntimeError("this client is not connected; use it inside `async with client:`")
        return self._grains

    def _check(self, action: str) -> None:
        _ = self._connected
        self._binding.check(action)

    def _receiver_for(self, gateway: SiloAddress) -> Link:
        link = self._sender.receiver_for(gateway)
        link.on_end = self._gateways.disconnected
        self._gateways.connecting(gateway)
        link.served = ClientEnd(link, self._end_deps)
        return link


def _checked_texts(gateways: Sequence[str], cluster: str, name: str) -> tuple[str, ...]:
    if isinstance(gateways, str | bytes):
        raise ConfigurationError(f"gateways is a list of host:port, not one text: Client([{gateways!r}])")
    gateways = tuple(gateways or ())
    for text in (*gateways, cluster, name):
        if not isinstance(cast("object", text), str):
            raise ConfigurationError(f"gateways, cluster and name of a client are texts, not {text!r:.100}")
    return gateways


def _checked(token: str) -> str:
    if not isinstance(cast("object", token), str):
        raise ConfigurationError("token= of a client is a text")
    try:
        return check_token(token) if token else token
    except ValueError as error:
        raise ConfigurationError(f"token= of a client: {error}") from None


def _checked_errors(errors: Iterable[type[Exception]]) -> Iterable[type[Exception]]:
    if isinstance(cast("object", errors), type) or not isinstance(cast("object", errors), Iterable):
        raise ConfigurationError(f"errors= is a list of exception classes, not {errors!r:.100}")
    return errors


def _new_key(chance: random.Random) -> bytes:
    """The secret that proves the id of this client. `chance` is that of the system, but for tests."""
    return chance.randbytes(KEY_BYTES)


def _forget(peers: Peers, sender: Sender, gateway: SiloAddress) -> None:
    peers.kill(gateway)
    sender.drop_link(gateway)
