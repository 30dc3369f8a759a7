"""Where a client sends its calls: by the ring, and around gateways that fail. A failure names its reasons."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grange import ConfigurationError, GrainId, SiloAddress, SiloUnavailable
from grange.client.client import Client
from grange.client.gateways import ASK_TIMEOUT, Gateways, parse_gateway
from grange.client.options import ClientOptions
from grange.errors import CallTimeout, ConnectionLost, HandshakeRefused
from grange.membership.model.hash_ring import Ring
from grange.membership.model.member import Member, SiloStatus, View
from grange.proto.management import VIEW, ViewQuestion
from grange.runtime.system_target import Ask
from grange.testing.loop import VirtualTime

START = datetime(2026, 1, 1, tzinfo=UTC)
GRAINS = [GrainId("cart", str(number)) for number in range(50)]


def member(number: int, status: SiloStatus = SiloStatus.ACTIVE, gateway: int | None = None) -> Member:
    port = 30_000 + number if gateway is None else gateway
    address = SiloAddress("10.0.0.1", 11_000 + number, number)
    return Member(address, status, started=START, alive=START, name=f"silo-{number}", gateway=port)


def view(version: int, *members: Member) -> View:
    return View(version, members)


class Cluster:
    """Gateways of an earlier release: they answer at once with a view, or with the error in `errors`."""

    def __init__(self, shown: View) -> None:
        self.view = shown
        self.errors: dict[int, Exception] = {}
        self.asked: list[int] = []

    async def ask(self, silo: SiloAddress, service: str, request: bytes, timeout: float) -> bytes:
        seconds = msgspec.msgpack.decode(request, type=ViewQuestion).seconds if request else 0.0
        assert (service, timeout) == (VIEW, seconds + ASK_TIMEOUT)
        self.asked.append(silo.port)
        await asyncio.sleep(0)
        if silo.port in self.errors:
            raise self.errors[silo.port]
        return msgspec.msgpack.encode(self.view)


@pytest.fixture
async def time() -> AsyncIterator[VirtualTime]:
    with VirtualTime(asyncio.get_running_loop()).installed() as time:
        yield time


def gateways(*seeds: int, **options: float) -> Gateways:
    return Gateways([f"10.0.0.1:{seed}" for seed in seeds], ClientOptions(**options), random.Random(0))


@asynccontextmanager
async def keeping_fresh(client: Gateways, ask: Ask) -> AsyncIterator[None]:
    task = asyncio.create_task(client.keep_fresh(ask))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


# --- addresses -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("a:1", SiloAddress("a", 1, 0)),
        ("[::1]:30000", SiloAddress("::1", 30000, 0)),
        ("[fe80::1%eth0]:30000", SiloAddress("fe80::1%eth0", 30000, 0)),
        ("silo_1.shop.example.:30000", SiloAddress("silo_1.shop.example.", 30000, 0)),
        ("bücher.example:1", SiloAddress("bücher.example", 1, 0)),
        ("h:65535", SiloAddress("h", 65535, 0)),
    ],
)
def test_gateways_are_host_and_port(text: str, address: SiloAddress) -> None:
    assert parse_gateway(text) == address


@given(st.text())
def test_no_text_breaks_the_parser(text: str) -> None:
    try:
        assert 0 < parse_gateway(text).port < 65536
    except ConfigurationError:
        return


@pytest.mark.parametrize(
    "text",
    [
        "http://127.0.0.1:1",
        "::1:30000",
        "[h]:1",
        "a b:1",
        "u@h:1",
        "h/x:1",
        "h?:1",
        "a,b:1",
        "\x1b[2J:1",
        "[::1%]:1",
        "tcp:h:1",
    ],
)
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(
        ConfigurationError, match=r"not a gateway.*write host:port, such as 127\.0\.0\.1:30000 or \[::1\]"
    ):
        parse_gateway(text)


def test_a_url_in_place_of_a_gateway_shows_no_password() -> None:
    with pytest.raises(ConfigurationError, match="a gateway has no scheme") as caught:
        parse_gateway("https://ann:t0psecret@shop.example:443")
    assert "t0psecret" not in str(caught.value)


@pytest.mark.parametrize("text", ["h:²", "h:-1", "h:0", "h:65536", "h: 1"])
def test_ports_are_numbers(text: str) -> None:
    with pytest.raises(ConfigurationError, match="not a gateway"):
        parse_gateway(text)


async def test_a_client_needs_a_gateway() -> None:
    with pytest.raises(ConfigurationError, match="at least one gateway"):
        gateways()


# --- finding the cluster -------------------------------------------------------------------------------------------


async def test_one_gateway_that_answers_is_enough(time: VirtualTime) -> None:
    cluster = Cluster(view(1, member(0), member(1)))
    cluster.errors[30_009] = SiloUnavailable("connection refused")
    client = gateways(30_009, 30_000)
    await client.find(cluster.ask)
    assert {address.port for address in client.all()} == {30_000, 30_001}


async def test_all_gateways_that_failed_are_named_with_their_reasons(time: VirtualTime) -> None:
    """But only after `connect_timeout`, because a silo may be starting."""
    cluster = Cluster(view(1))
    cluster.errors = {1: SiloUnavailable("10.0.0.1:1 is dark"), 2: CallTimeout("10.0.0.1:2 is slow")}
    before = time.time()
    with pytest.raises(SiloUnavailable, match=r"10\.0\.0\.1:1 is dark; 10\.0\.0\.1:2 is slow.*Is a silo running there"):
        await gateways(1, 2, connect_timeout=3).find(cluster.ask)
    assert 3 <= time.time() - before < 3.5
    assert len(cluster.asked) > 10


async def test_a_client_waits_for_a_silo_that_is_starting(time: VirtualTime) -> None:
    cluster = Cluster(view(1, member(0)))
    cluster.errors[30_000] = HandshakeRefused("still starting", code="starting")
    found = asyncio.create_task(gateways(30_000).find(cluster.ask))
    await asyncio.sleep(3)
    assert not found.done()
    cluster.errors.clear()
    await found


@pytest.mark.parametrize("code", ["wrong-cluster", "wrong-port", "protocol-version"])
@pytest.mark.parametrize("wrapped", [True, False])
async def test_a_refused_handshake_is_raised_at_once(time: VirtualTime, code: str, wrapped: bool) -> None:
    cluster = Cluster(view(1))
    refused = HandshakeRefused("no", code=code)
    cluster.errors[1] = SiloUnavailable("cannot connect") if wrapped else refused
    cluster.errors[1].__cause__ = refused if wrapped else None
    before = time.time()
    with pytest.raises(HandshakeRefused) as caught:
        await gateways(1).find(cluster.ask)
    assert caught.value.code == code
    assert time.time() == before


async def test_a_client_that_waits_for_a_gateway_logs_one_warning(
    time: VirtualTime, caplog: pytest.LogCaptureFixture
) -> None:
    """After 3 s. A shorter search only fails."""
    cluster = Cluster(view(1))
    cluster.errors[1] = SiloUnavailable("connection refused")
    for seconds, words in ((2, []), (10, ["no gateway answers yet: connection refused; trying for 7 s more"])):
        with pytest.raises(SiloUnavailable):
            await gateways(1, connect_timeout=seconds).find(cluster.ask)
        assert [each.getMessage() for each in caplog.records] == words


async def test_an_answer_that_is_no_view_is_a_failure(time: VirtualTime) -> None:
    async def nonsense(silo: SiloAddress, service: str, request: bytes, timeout: float) -> bytes:
        return b"\xc1"

    with pytest.raises(SiloUnavailable, match="no gateway could be reached"):
        await gateways(1, connect_timeout=1).find(nonsense)


# --- choosing ------------------------------------------------------------------------------------------------------


async def test_a_call_goes_to_the_gateway_of_the_silo_that_owns_it(time: VirtualTime) -> None:
    """Most calls are one hop, because the silos compute the same ring."""
    members = [member(number) for number in range(4)]
    client = gateways(30_000)
    await client.find(Cluster(view(1, *members)).ask)
    ring = Ring(each.address for each in members)
    by_address = {each.address: each.gateway for each in members}
    for grain_id in GRAINS:
        owner = ring.owner(grain_id.ring_hash)
        assert owner is not None
        chosen = client.known(grain_id)
        assert chosen is not None
        assert chosen.port == by_address[owner]
        assert chosen.generation == owner.generation


async def test_only_active_silos_with_a_gateway_are_used(time: VirtualTime) -> None:
    members = [member(0), member(1, SiloStatus.JOINING), member(2, SiloStatus.DEAD), member(3, gateway=0)]
    client = gateways(30_000)
    await client.find(Cluster(view(1, *members)).ask)
    assert {client.known(grain_id).port for grain_id in GRAINS} == {30_000}  # type: ignore[union-attr]


async def test_before_the_first_view_the_seeds_are_tried(time: VirtualTime) -> None:
    client = gateways(1, 2)
    assert {client.known(grain_id).port for grain_id in GRAINS} == {1, 2}  # type: ignore[union-attr]
    assert (await client.locate(GRAINS[0])).port in (1, 2)


async def test_a_gateway_that_failed_is_avoided_for_a_while(time: VirtualTime) -> None:
    """Meanwhile its grains go through the other gateways. After `avoid_for` it is used again."""
    client = gateways(30_000, avoid_for=2)
    await client.find(Cluster(view(1, member(0), member(1))).ask)
    placed = {grain_id: client.known(grain_id) for grain_id in GRAINS}
    failed = placed[GRAINS[0]]
    assert failed is not None
    client.invalidate(GRAINS[0], failed, None, absent=True)
    assert failed not in {client.known(grain_id) for grain_id in GRAINS}
    await asyncio.sleep(2.1)
    assert {grain_id: client.known(grain_id) for grain_id in GRAINS} == placed


async def test_a_gateway_that_fails_gets_no_call_until_it_has_answered_the_client(time: VirtualTime) -> None:
    """The client tries it again and again by itself, although nothing answers for long. Then calls are told."""
    cluster = Cluster(view(1, member(0), member(1)))
    client = gateways(30_000, refresh_period=60, avoid_for=2)
    await client.find(cluster.ask)
    lost = next(each for each in client.all() if each.port == 30_001)

    async def ask(silo: SiloAddress, service: str, request: bytes, timeout: float) -> bytes:
        if silo.port in cluster.errors:
            await asyncio.sleep(timeout)
        return await cluster.ask(silo, service, request, timeout)

    async with keeping_fresh(client, ask):
        cluster.errors[30_001] = CallTimeout("no answer")
        client.disconnected(lost, ConnectionLost("reset"))
        for _ in range(200):
            await asyncio.sleep(0.1)
            assert lost not in {client.known(grain_id) for grain_id in GRAINS}
        changes = client.changes
        cluster.errors.clear()
        began = time.time()
        while client.changes == changes:
            await client.changed(60)
        assert time.time() - began <= 1 + ASK_TIMEOUT
        assert lost in {client.known(grain_id) for grain_id in GRAINS}


async def test_the_place_of_an_observing_client_is_reached_before_lost_gateways_are_tried(time: VirtualTime) -> None:
    """They may be silent for long, and silos look for the client at its place."""
    cluster = Cluster(view(1, *(member(number) for number in range(4))))
    client = gateways(30_000, refresh_period=60)
    await client.find(cluster.ask)
    lost = client.all()[0]
    home = next(grain_id for grain_id in GRAINS if client.known(grain_id) == lost)
    reached: list[float] = []

    async def ask(silo: SiloAddress, service: str, request: bytes, timeout: float) -> bytes:
        if silo.port == lost.port:
            await asyncio.sleep(timeout)
            raise CallTimeout("no answer")
        if client.known(home) == silo:
            reached.append(time.time())
        return await cluster.ask(silo, service, request, timeout)

    async with keeping_fresh(client, ask):
        client.keep_home(home)
        await asyncio.sleep(5)
        reached.clear()
        began = time.time()
        client.disconnected(lost, ConnectionLost("reset"))
        await asyncio.sleep(5)
        assert reached[0] - began < 0.05


async def test_callers_forget_their_links_with_each_new_view(time: VirtualTime) -> None:
    client = gateways(30_000)
    await client.find(Cluster(view(1, member(0))).ask)
    moved: list[GrainId | None] = []
    client.watch(moved.append)
    newer = Cluster(view(2, member(0), member(1)))
    await client.find(newer.ask)
    await client.find(newer.ask)
    assert moved == [None]


async def test_callers_forget_their_links_when_a_gateway_is_avoided_and_used_again(time: VirtualTime) -> None:
    client = gateways(30_000, avoid_for=2)
    await client.find(Cluster(view(1, member(0), member(1))).ask)
    moved: list[GrainId | None] = []
    client.watch(moved.append)
    client.disconnected(client.all()[0], None)
    assert moved == [None]
    await asyncio.sleep(2.1)
    client.known(GRAINS[0])
    assert moved == [None, None]


async def test_a_gateway_whose_silo_lacks_the_grain_is_not_avoided(time: VirtualTime) -> None:
    client = gateways(30_000)
    await client.find(Cluster(view(1, member(0), member(1))).ask)
    chosen = client.known(GRAINS[0])
    assert chosen is not None
    client.invalidate(GRAINS[0], chosen, None)
    assert client.known(GRAINS[0]) == chosen


async def test_when_all_gateways_have_failed_all_are_tried(time: VirtualTime) -> None:
    client = gateways(30_001)
    await client.find(Cluster(view(1, member(1), member(2))).ask)
    for gateway in client.all():
        client.invalidate(GRAINS[0], gateway, None, absent=True)
    assert client.known(GRAINS[0]) in client.all()


# --- reading the view ----------------------------------------------------------------------------------------------


async def test_the_view_is_read_again_once_per_period(time: VirtualTime) -> None:
    cluster = Cluster(view(1, member(0)))
    client = gateways(30_000, refresh_period=5)
    await client.find(cluster.ask)
    async with keeping_fresh(client, cluster.ask):
        cluster.asked.clear()
        await asyncio.sleep(51)
        assert 9 <= len(cluster.asked) <= 11
        cluster.view = view(2, member(0), member(1))
        await asyncio.sleep(6)
        assert {address.port for address in client.all()} == {30_000, 30_001}


async def test_after_a_failure_the_view_is_read_at_once(time: VirtualTime) -> None:
    """A thousand failures cause at most ten reads."""
    cluster = Cluster(view(1, member(0), member(1)))
    client = gateways(30_000, refresh_period=60)
    await client.find(cluster.ask)
    async with keeping_fresh(client, cluster.ask):
        cluster.view = view(2, member(1))
        cluster.asked.clear()
        for _ in range(1000):
            client.invalidate(GRAINS[0], client.all()[0], None, absent=True)
        await client.changed(10)
        assert [address.port for address in client.all()] == [30_001]
        for _ in range(1000):
            client.invalidate(GRAINS[0], client.all()[0], None, absent=True)
            await asyncio.sleep(0.0001)
        assert len(cluster.asked) <= 10


async def test_the_seeds_are_asked_when_every_known_silo_is_gone(
    time: VirtualTime, caplog: pytest.LogCaptureFixture
) -> None:
    """The whole cluster was replaced at the same addresses, with a new table."""
    cluster = Cluster(view(7, member(0), member(1)))
    client = gateways(1, 30_000, refresh_period=5)
    await client.find(cluster.ask)
    async with keeping_fresh(client, cluster.ask):
        cluster.errors = {port: SiloUnavailable("gone") for port in (1, 30_000, 30_001)}
        await asyncio.sleep(12)
        assert "no gateway answers" in caplog.text
        cluster.view = view(1, member(5))
        del cluster.errors[1]
        await asyncio.sleep(12)
        assert [address.port for address in client.all()] == [30_005]
        assert client.view.version == 1


async def test_while_no_gateway_answers_the_search_is_repeated_at_short_intervals(time: VirtualTime) -> None:
    """From 0.1 s up to 0.25 s, and in each outage from 0.1 s again: calls wait for the first answer."""
    cluster = Cluster(view(1, member(0)))
    client = gateways(30_000, refresh_period=60)
    searched: list[float] = []

    async def ask(silo: SiloAddress, service: str, request: bytes, timeout: float) -> bytes:
        if time.time() not in searched:
            searched.append(time.time())
        return await cluster.ask(silo, service, request, timeout)

    await client.find(cluster.ask)
    async with keeping_fresh(client, ask):
        for _ in range(2):
            searched.clear()
            cluster.errors[30_000] = SiloUnavailable("gone")
            client.invalidate(GRAINS[0], client.all()[0], None, absent=True)
            await asyncio.sleep(3)
            pauses = [later - earlier for earlier, later in pairwise(searched)]
            assert 0.1 <= pauses[0] <= 0.15 + 1e-9
            assert max(pauses) <= 0.25 + 1e-9
            cluster.errors.clear()
            await asyncio.sleep(3)


async def test_waiting_for_a_change_ends_with_the_change_or_at_its_time_out(time: VirtualTime) -> None:
    cluster = Cluster(view(1, member(0)))
    client = gateways(30_000, refresh_period=5)
    await client.find(cluster.ask)
    before = time.time()
    await client.changed(3)
    assert time.time() == before + 3
    async with keeping_fresh(client, cluster.ask):
        cluster.view = view(2, member(0), member(1))
        await client.changed(60)
        assert time.time() < before + 10
        waiting = asyncio.create_task(client.wait_for({member(0).address}))
        await asyncio.sleep(1)
        assert not waiting.done()
        cluster.view = view(3, member(0))
        await waiting


@pytest.mark.parametrize(
    "options", [{"gateways": [5]}, {"gateways": b"x:1"}, {"gateways": ["a:1"], "cluster": 5}, {"gateways": [None]}]
)
def test_a_client_takes_texts(options: dict[str, Any]) -> None:
    """A cluster that is no text was searched for until the time-out."""
    with pytest.raises(ConfigurationError, match="gateways"):
        Client(**options)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"response_timeout": "5"}, "response_timeout must be a number of seconds above 0"),
        ({"response_timeout": None}, "response_timeout must be a number of seconds above 0"),
        ({"errors": ValueError}, "errors= is a list of exception classes"),
        ({"errors": 5}, "errors= is a list of exception classes"),
        ({"errors": [5]}, "errors= must name exception classes"),
    ],
)
def test_a_client_names_a_wrong_option(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        Client(["a:1"], **options)
