"""A silo refuses calls that are not allowed, in every state of their grain, and asks for each identity anew."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from grange import Grain, Identity, one_way, requires
from grange.grains.definition import spec_of
from grange.observability.events import Events
from grange.proto.handshake import Hello, Role, answer
from grange.proto.identity import encode_identity
from grange.proto.ids import GrainId
from grange.proto.message import Reason, Rejection, Response
from grange.runtime.requests import authorization as module
from grange.runtime.requests.authorization import Authorization
from grange.runtime.requests.refusal import Refused
from grange.security.policy import Authorize, CallFacts, Mode, Policy
from grange.security.rule import read_rules
from grange.transport.memory import MemoryTransport
from grange.transport.memory_network import MemoryNetwork
from tests.runtime.process import HERE, Process, recorded_call, settle
from tests.runtime.test_inbound import Stranger

ANN = encode_identity(Identity("user:ann", ("customer",)))
BOB = encode_identity(Identity("user:bob", ("clerk",)))
RULES = [{"who": ["role:customer"], "call": ["cart/*", "pool/work", "picky/work"]}]


class Cart(Grain):
    ran: list[str] = []

    async def work(self) -> str:
        self.ran.append(self.key)
        return "done"

    async def hold(self) -> None:
        await asyncio.sleep(60)

    @requires("role:admin")
    async def close(self) -> None:
        self.ran.append("closed")

    @one_way
    async def hit(self) -> None:
        self.ran.append("hit")


class Pool(Grain, stateless_workers=2):
    async def work(self) -> None:
        Cart.ran.append("pool")


class Picky(Grain, may_interleave=lambda _method, _args: True):
    async def work(self) -> None:
        Cart.ran.append("picky")


Guarded = Callable[..., Authorization]


@pytest.fixture
async def process() -> AsyncIterator[Process]:
    Cart.ran.clear()
    process = Process(Cart, Pool, Picky)
    yield process
    await process.close()


@pytest.fixture
def guarded(process: Process) -> Guarded:
    def guard(
        rules: list[dict[str, list[str]]] | None = None, authorize: Authorize | None = None, mode: Mode = Mode.ENFORCE
    ) -> Authorization:
        requirements = {("cart", "close"): spec_of(Cart).methods["close"].options.requires}
        hosted = process.catalog.hosted.values()
        plans = {(each.name, name): plan for each in hosted for name, plan in each.plans.items()}
        policy = Policy(read_rules(RULES if rules is None else rules), requirements)
        process.catalog.authorization = Authorization(policy, authorize, mode, plans, Events())
        return process.catalog.authorization

    return guard


async def deliver(process: Process, principal: bytes, grain: str = "cart", method: str = "work") -> Reason | None:
    """The reason of the refusal of a call; None: it ran."""
    refused: list[Refused] = []
    call = recorded_call(GrainId(grain, "a"), refused, method)
    call.principal = principal
    before = len(Cart.ran)
    process.catalog.deliver(call)
    await settle()
    assert len(Cart.ran) == before + (not refused)
    return refused[0].reason if refused else None


@pytest.mark.parametrize("grain", ["cart", "pool", "picky"])
async def test_a_call_that_is_not_allowed_does_not_run(process: Process, guarded: Guarded, grain: str) -> None:
    """S4: the first call, that for an idle grain, and that of another identity in between; also without an identity."""
    guarded()
    for _ in range(3):
        assert await deliver(process, BOB, grain) is Reason.UNAUTHORIZED
        assert await deliver(process, b"", grain) is Reason.UNAUTHORIZED
        assert await deliver(process, ANN, grain) is None
    assert [plan.guard for plan in process.catalog.hosted["cart"].plans.values() if plan.name == "hold"] == [set()]


async def test_a_refused_call_makes_no_activation(process: Process, guarded: Guarded) -> None:
    guarded()
    assert await deliver(process, BOB) is Reason.UNAUTHORIZED
    assert not process.catalog.targets


async def test_a_refused_call_does_not_wait_behind_a_busy_grain(process: Process, guarded: Guarded) -> None:
    guarded()
    busy = recorded_call(GrainId("cart", "a"), [], "hold")
    busy.principal = ANN
    process.catalog.deliver(busy)
    await settle()
    assert await deliver(process, BOB) is Reason.UNAUTHORIZED


async def test_unknown_methods_and_types_are_refused_as_any_other(process: Process, guarded: Guarded) -> None:
    """A caller without rights learns no names."""
    guarded()
    assert await deliver(process, BOB, "cart", "nothing") is Reason.UNAUTHORIZED
    assert await deliver(process, BOB, "nothing", "work") is Reason.UNAUTHORIZED
    assert await deliver(process, ANN, "cart", "nothing") is Reason.NO_SUCH_METHOD


async def test_requires_governs_its_method_alone(process: Process, guarded: Guarded) -> None:
    guarded([])
    assert await deliver(process, b"", "cart", "work") is None
    assert await deliver(process, ANN, "cart", "close") is Reason.UNAUTHORIZED
    assert await deliver(process, b"", "cart", "close") is Reason.UNAUTHORIZED
    root = encode_identity(Identity("user:root", ("admin",)))
    assert await deliver(process, root, "cart", "close") is None
    guards = {name: plan.guard for name, plan in process.catalog.hosted["cart"].plans.items()}
    assert guards == {"work": None, "hold": None, "close": {root}, "hit": None}


async def test_reminders_are_no_calls(process: Process, guarded: Guarded) -> None:
    """Only silos send them: the gateway refuses those of clients."""
    guarded()
    assert await deliver(process, b"", "cart", "@reminder") is Reason.NO_SUCH_METHOD


async def test_a_policy_function_is_asked_for_each_call(process: Process, guarded: Guarded) -> None:
    asked: list[tuple[Identity | None, CallFacts]] = []

    def own_cart(identity: Identity | None, call: CallFacts) -> bool | str:
        asked.append((identity, call))
        return True if identity is not None and identity.subject == f"user:{call.key}nn" else "it is not your cart"

    guarded([], own_cart)
    for _ in range(2):
        assert await deliver(process, ANN) is None
        assert await deliver(process, BOB) is Reason.UNAUTHORIZED
        assert await deliver(process, b"") is Reason.UNAUTHORIZED
    assert len(asked) == 6
    assert asked[0] == (Identity("user:ann", ("customer",)), CallFacts("cart", "a", "work", via_gateway=True))


async def test_rules_and_the_function_must_both_allow(process: Process, guarded: Guarded) -> None:
    answers = {True: None, False: Reason.UNAUTHORIZED, "no": Reason.UNAUTHORIZED, "": Reason.UNAUTHORIZED}
    for given, outcome in answers.items():
        guarded(RULES, lambda _identity, _call, given=given: given)
        assert await deliver(process, ANN) is outcome
        assert await deliver(process, BOB) is Reason.UNAUTHORIZED


@pytest.mark.parametrize("wrong", [1, None, object()])
async def test_a_wrong_answer_refuses(process: Process, guarded: Guarded, wrong: Any) -> None:
    found = guarded([], lambda _identity, _call: wrong)
    assert await deliver(process, ANN) is Reason.UNAUTHORIZED
    assert found.figures.failed == 1


@pytest.mark.parametrize("error", [ZeroDivisionError("secret"), SystemExit(1), asyncio.CancelledError()])
async def test_a_function_that_raises_refuses(process: Process, guarded: Guarded, error: BaseException) -> None:
    """It fails closed, and its text reaches no caller."""

    def broken(_identity: Identity | None, _call: CallFacts) -> bool:
        raise error

    found = guarded([], broken)
    refused: list[Refused] = []
    call = recorded_call(GrainId("cart", "a"), refused)
    call.principal = ANN
    process.catalog.deliver(call)
    assert refused[0].message == "user:ann may not call cart/work: the policy function of the silo failed"
    assert (found.figures.failed, found._events.counts["authorization_failed"], Cart.ran) == (1, 1, [])


async def test_audit_lets_run_what_it_would_refuse(process: Process, guarded: Guarded) -> None:
    found = guarded(mode=Mode.AUDIT)
    for _ in range(2):
        assert await deliver(process, BOB) is None
        assert await deliver(process, ANN) is None
    assert found.figures.would_be_refused == {"cart": 2}
    (row, _), _ = found._events.after(-2, 2)
    assert row.facts["caller"] == "user:bob"
    assert "user:bob may not call cart/work: it is allowed to role:customer" in row.text


async def test_guards_forget_when_they_are_full(
    process: Process, guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_GUARDED", 4)
    guarded()
    for number in range(20):
        assert await deliver(process, encode_identity(Identity(f"user:{number}", ("customer",)))) is None
        assert await deliver(process, encode_identity(Identity(f"user:{number}"))) is Reason.UNAUTHORIZED
    guard = process.catalog.hosted["cart"].plans["work"].guard
    assert guard is not None
    assert len(guard) <= 4


async def test_guards_keep_no_long_identity(process: Process, guarded: Guarded) -> None:
    """A certificate that speaks for users chooses their names."""
    guarded()
    long = encode_identity(Identity("user:" + "a" * 1000, ("customer",)))
    assert await deliver(process, long) is None
    assert await deliver(process, long) is None
    assert await deliver(process, ANN) is None
    assert process.catalog.hosted["cart"].plans["work"].guard == {ANN}


# -- requests from the wire --


@pytest.fixture
async def silo(process: Process) -> AsyncIterator[Stranger]:
    """The connection of another silo."""
    network = MemoryNetwork()
    here, there = MemoryTransport(network), MemoryTransport(network)
    listener = await here.listen("127.0.0.1", 0, lambda hello, _: answer(hello, "test", HERE), process.inbound.accept)
    stranger = Stranger(process, there)
    hello = Hello("test", Role.SILO, "other")
    stranger.connection = await there.connect("127.0.0.1", listener.port, hello, stranger)
    yield stranger
    for each in (there, here):
        await each.close()


async def test_requests_of_one_frame_are_told_apart(process: Process, guarded: Guarded, silo: Stranger) -> None:
    """S4: the turns that start as their frame is read are guarded like all others."""
    guarded()
    for _ in range(3):
        numbers = {who: silo.send("work", principal=who) for who in (ANN, BOB, b"", ANN + b"x")}
        answers = {who: await silo.answer(number) for who, number in numbers.items()}
        assert isinstance(answers[ANN], Response)
        for who in (BOB, b"", ANN + b"x"):
            answer = answers[who]
            assert isinstance(answer, Rejection)
            assert answer.reason is Reason.UNAUTHORIZED
    assert len(Cart.ran) == 3


async def test_a_one_way_request_is_refused(process: Process, guarded: Guarded, silo: Stranger) -> None:
    guarded()
    answer = await silo.ask("hit", principal=BOB, one_way=True, timeout_ms=0)
    assert isinstance(answer, Rejection)
    assert answer.reason is Reason.UNAUTHORIZED
    assert isinstance(await silo.ask("hit", principal=ANN, one_way=True, timeout_ms=0), Response)
    await settle()
    assert Cart.ran == ["hit"]


async def test_a_refused_request_is_counted(process: Process, guarded: Guarded, silo: Stranger) -> None:
    guarded()
    await silo.ask("work", principal=BOB)
    await silo.ask("work", principal=ANN)
    assert process.admission.figures.refused == {"unauthorized": 1}
