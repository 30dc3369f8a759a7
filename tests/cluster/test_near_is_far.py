"""A call is the same whether its grain is in this process or in another: values, refusals, sizes, time zones."""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pydantic
import pytest

from grange import (
    CallError,
    CallNotExecuted,
    ConfigurationError,
    Grain,
    GrainInterface,
    InvalidCall,
    PersistentState,
    request_context,
)
from grange.errors import StorageError
from grange.grains.context import CONTEXT_LIMIT
from grange.runtime.options import RuntimeOptions
from grange.testing.cluster import TestCluster
from tests.proto.generated import Animal, Dog, Frozen, Model, Word, same

NEW_YORK = ZoneInfo("America/New_York")
LIMIT = RuntimeOptions().payload_limit


class Counts(GrainInterface):
    async def count(self) -> int: ...


class Cart(Grain, Counts):
    async def count(self) -> int:
        return 1


class Account(Grain[int]):
    async def deposit(self) -> int:
        return 1


class Savings(Account):
    """A kind of account."""


class Echo(Grain):
    async def moment(self, value: dt.datetime) -> dt.datetime:
        return value

    async def moments(self, value: dict[str, dt.datetime | None]) -> dict[str, dt.datetime | None]:
        return value

    async def hour(self, value: dt.datetime) -> int:
        return value.hour

    async def number(self, value: int) -> int:
        return value

    async def positive(self, value: Annotated[int, msgspec.Meta(gt=0)]) -> int:
        return value

    async def level(self, value: Literal["low", "high"]) -> str:
        return value

    async def ratio(self, value: float | None) -> float | None:
        return value

    async def text(self, value: str) -> str:
        return value

    async def data(self, value: bytes) -> bytes:
        return value

    async def ident(self, value: UUID) -> UUID:
        return value

    async def animal(self, value: Animal) -> Animal:
        return value

    async def frozen(self, value: Frozen) -> Frozen:
        return value

    async def anything(self, value: Any) -> Any:
        return value

    async def model(self, value: Model) -> Model:
        return value

    async def secret(self, value: Model) -> str:
        return value.token.get_secret_value()

    async def account(self, value: Account) -> str:
        return str(value.id)

    async def accounts(self, value: list[Account | None]) -> str:
        return ", ".join(str(one.id) for one in value if one is not None)

    async def counts(self, value: Counts) -> str:
        return str(value.id)

    async def make(self, size: int) -> bytes:
        return b"x" * size

    async def lie(self, what: str) -> int:
        lies: dict[str, Any] = {"word": "x", "large": 2**64, "float": 1.5}
        return lies[what]  # type: ignore[no-any-return]

    async def context(self) -> dict[str, Any]:
        return dict(request_context)


MODEL = Model(userName="ann", token=pydantic.SecretStr("hunter2"), when=dt.datetime(2024, 7, 1, tzinfo=NEW_YORK))

CALLS: list[tuple[str, Any]] = [
    ("moment", dt.datetime(2024, 7, 1, 22, tzinfo=NEW_YORK)),
    ("moment", dt.datetime(2024, 11, 3, 1, 30, fold=1, tzinfo=NEW_YORK)),
    ("moment", dt.datetime(2024, 7, 1, 22, tzinfo=dt.timezone(dt.timedelta(hours=5, minutes=30)))),
    ("moment", dt.datetime(2024, 7, 1, 22, tzinfo=dt.UTC)),
    ("moment", dt.datetime(2024, 7, 1, 22)),
    ("moments", {"a": dt.datetime(2024, 7, 1, 22, tzinfo=NEW_YORK), "b": None}),
    ("hour", dt.datetime(2024, 7, 1, 22, tzinfo=NEW_YORK)),
    ("number", 2**64 - 1),
    ("number", 2**64),
    ("number", -(2**63) - 1),
    ("number", True),
    ("positive", 1),
    ("positive", 0),
    ("level", "low"),
    ("level", "middle"),
    ("ratio", math.nan),
    ("ratio", -0.0),
    ("ratio", 2**53 + 1),
    ("text", Word.YES),
    ("text", "\ud800"),
    ("text", UUID(int=1)),
    ("ident", UUID(int=1)),
    ("ident", str(UUID(int=1))),
    ("animal", Animal("rex")),
    ("animal", Dog("rex", ["sit"])),
    ("frozen", Frozen(1.0, dt.datetime(2024, 7, 1, tzinfo=NEW_YORK))),
    ("frozen", Frozen("no number")),  # type: ignore[arg-type]
    ("anything", {"a": [1, 2.5, None]}),
    ("anything", (1, 2)),
    ("model", MODEL),
    ("secret", MODEL),
    ("data", b"x" * (LIMIT - 6)),
    ("data", b"x" * (LIMIT - 5)),
    ("text", "x" * (LIMIT - 5)),
    ("make", LIMIT - 5),
    ("make", LIMIT - 4),
    ("lie", "word"),
    ("lie", "large"),
    ("lie", "float"),
]


async def outcome(act: Callable[[], Awaitable[Any]]) -> Any:
    """The result of a call, or the class of its error."""
    try:
        return await act()
    except CallError as error:
        return type(error)


@dataclasses.dataclass
class Sides:
    """References to one grain: in its own silo, in another silo, and in a client."""

    near: Any
    far: Any
    client: Any

    async def outcomes(self, method: str, value: Any) -> list[Any]:
        return [
            await outcome(lambda one=one: getattr(one, method)(value)) for one in (self.near, self.far, self.client)
        ]


async def sides_of(cluster: TestCluster) -> Sides:
    client = cluster.get_grain(Echo, "a")
    await client.text("activate")
    near, far = sorted(cluster.silos, key=lambda silo: silo is not cluster.where(client))
    return Sides(near.get_grain(Echo, "a"), far.get_grain(Echo, "a"), client)


async def test_every_call_ends_alike() -> None:
    async with TestCluster([Echo]) as cluster:
        sides = await sides_of(cluster)
        for method, value in CALLS:
            near, *others = await sides.outcomes(method, value)
            for other in others:
                alike = near is other if isinstance(near, type) else same(near, other)
                assert alike, (method, f"{value!r:.60}", f"{near!r:.60}", f"{other!r:.60}")


@pytest.mark.parametrize(
    ("method", "value"),
    [
        (m, v)
        for m, v in CALLS
        if m in ("moment", "moments", "ratio", "model", "frozen", "ident") and type(v) is not str
    ],
    ids=lambda sample: f"{sample!r:.40}",
)
async def test_what_is_taken_arrives_equal(method: str, value: Any) -> None:
    async with TestCluster([Echo]) as cluster:
        for result in await (await sides_of(cluster)).outcomes(method, value):
            assert same(result, value) or result is InvalidCall


class Counter(Grain):
    def __init__(self) -> None:
        self.runs = 0

    async def add(self, value: Annotated[int, msgspec.Meta(gt=0)], data: bytes = b"") -> int:
        self.runs += 1
        return self.runs


async def test_a_refused_call_certainly_does_not_run() -> None:
    """Near, it reaches the activation, as a refused remote call does, and no turn starts."""
    async with TestCluster([Counter]) as cluster:
        for index in range(8):
            for caller in (cluster, *cluster.silos):
                counter = caller.get_grain(Counter, str(index))
                for args in ((0,), (1, b"x" * LIMIT), (2**64,)):
                    with pytest.raises(CallNotExecuted):
                        await counter.add(*args)
        for index in range(8):
            assert cluster.where(cluster.get_grain(Counter, str(index))) is not None
            assert await cluster.get_grain(Counter, str(index)).add(1) == 1


async def test_the_hour_of_a_datetime_is_the_callers() -> None:
    async with TestCluster([Echo]) as cluster:
        assert (
            await (await sides_of(cluster)).outcomes("hour", dt.datetime(2024, 7, 1, 22, tzinfo=NEW_YORK)) == [22] * 3
        )


async def test_a_secret_arrives_and_is_in_no_message() -> None:
    async with TestCluster([Echo]) as cluster:
        sides = await sides_of(cluster)
        assert await sides.outcomes("secret", MODEL) == ["hunter2"] * 3
        broken = MODEL.model_copy(update={"amounts": {"a": "hunter2"}})
        for grain in (sides.near, sides.far, sides.client):
            with pytest.raises(InvalidCall, match="amounts") as caught:
                await grain.secret(broken)
            assert "hunter2" not in str(caught.value)


async def test_a_reference_to_another_grain_is_refused() -> None:
    """A derived class, and an interface that the grain implements, fit."""
    async with TestCluster([Echo, Cart, Account, Savings]) as cluster:
        cart, savings = cluster.get_grain(Cart, "ann"), cluster.get_grain(Savings, 7)
        sides = await sides_of(cluster)
        for grain in (sides.near, sides.far, sides.client):
            assert await grain.account(savings) == "savings/7"
            assert await grain.accounts([None, cluster.get_grain(Account, 8)]) == "account/8"
            assert await grain.counts(cart) == "cart/ann"
            assert await grain.counts(cluster.get_grain(Counts, "ann")) == "cart/ann"
            with pytest.raises(InvalidCall, match="Expected a reference to `Account`, got one to `Cart`"):
                await grain.account(cart)
            with pytest.raises(InvalidCall, match=r"got one to `Cart` \(cart/ann\) - at `argument 'value'\[1\]`"):
                await grain.accounts([None, cart])
            with pytest.raises(InvalidCall, match="Expected a reference to `Counts`, got one to `Savings`"):
                await grain.counts(savings)
            with pytest.raises(InvalidCall, match="Expected a reference to `Account`, got `str`"):
                await grain.account("account/8")


async def test_the_largest_context_and_key_travel_near_and_far() -> None:
    async with TestCluster([Echo]) as cluster:
        client = cluster.get_grain(Echo, "k" * 4096)
        request_context["large"] = "x" * (CONTEXT_LIMIT - 20)
        for grain in (client, *(silo.get_grain(Echo, "k" * 4096) for silo in cluster.silos)):
            assert await grain.context() == dict(request_context)


class Names(GrainInterface):
    async def kind(self, value: Cart) -> str: ...

    async def made(self, key: str) -> Counts: ...


class Namer(Grain, Names):
    async def kind(self, value: Counts) -> str:
        return type(value).__name__

    async def made(self, key: str) -> Cart:
        return self.get_grain(Cart, key)


async def test_a_reference_has_the_type_of_the_side_that_reads_it() -> None:
    """Callers know the interface, the grain its own method; near and far a reference has the methods that they know."""
    async with TestCluster([Namer, Cart]) as cluster:
        cart = cluster.get_grain(Cart, "ann")
        for grain in (cluster.get_grain(Names, "a"), *(silo.get_grain(Names, "a") for silo in cluster.silos)):
            assert await grain.kind(cart) == "CountsReference"
            made = await grain.made("bob")
            assert type(made).__name__ == "CountsReference"
            assert made.id == cluster.get_grain(Cart, "bob").id


# --- state ---------------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Kept:
    celsius: float | None = 0.0
    pets: list[Animal] = dataclasses.field(default_factory=list)
    when: dt.datetime | None = None
    person: Model = dataclasses.field(default_factory=Model)
    account: Account | None = None


class Keeper(Grain):
    def __init__(self, state: PersistentState[Kept]) -> None:
        self.state = state

    async def keep(self, what: str) -> str:
        values: dict[str, Any] = {
            "celsius": math.nan,
            "pets": [Animal(), Dog("rex")],
            "account": self.get_grain(Cart, "ann"),
            "when": dt.datetime(2024, 11, 3, 1, 30, fold=1, tzinfo=NEW_YORK),
            "person": MODEL,
        }
        setattr(self.state.value, what, values[what])
        try:
            await self.state.write()
        except StorageError as error:
            return str(error)
        self.deactivate_when_idle()
        return "kept"

    async def reads_back(self, what: str) -> bool:
        expected = {"when": dt.datetime(2024, 11, 3, 1, 30, fold=1, tzinfo=NEW_YORK), "person": MODEL}
        return same(getattr(self.state.value, what), expected[what])


async def test_state_is_read_back_equal_or_refused_with_its_field() -> None:
    async with TestCluster([Keeper, Cart, Account], silos=1) as cluster:
        refused = {
            "celsius": "JSON has no number nan - at `$.celsius`",
            "pets": "got its subclass `Dog`",
            "account": "Expected a reference to `Account`, got one to `Cart`",
        }
        for what, says in refused.items():
            assert says in await cluster.get_grain(Keeper, what).keep(what)
        for what in ("when", "person"):
            keeper = cluster.get_grain(Keeper, what)
            assert await keeper.keep(what) == "kept"
            assert await keeper.reads_back(what)


async def test_state_with_keys_that_no_store_writes_stops_the_start() -> None:
    class Board(Grain):
        def __init__(self, state: PersistentState[dict[tuple[int, int], str]]) -> None: ...

    with pytest.raises(ConfigurationError, match=r"Board\.__init__, state 'state': .*keys of type tuple"):
        async with TestCluster([Board], silos=1):
            raise AssertionError("the silo started")
