"""pydantic models come out equal or are refused, and no message shows what they hold."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import ipaddress
import math
import pathlib
import re
import uuid
from typing import Annotated, Any, Generic, Literal, TypeVar
from zoneinfo import ZoneInfo

import msgspec
import pydantic
import pytest
from pydantic import ConfigDict, Field, SecretBytes, SecretStr

from grange.proto.equality import difference
from grange.proto.message import Encoding
from grange.proto.values import ValueCodec

CODEC = ValueCodec()
MSGPACK, JSON = Encoding
BOTH = pytest.mark.parametrize("encoding", list(Encoding))
BERLIN = ZoneInfo("Europe/Berlin")
T = TypeVar("T")


def _pascal(name: str) -> str:
    return name.title().replace("_", "")


class Inner(pydantic.BaseModel):
    number: int = Field(validation_alias="N")


class Aliased(pydantic.BaseModel):
    user_name: str = Field(default="", alias="userName")
    shown: int = Field(default=1, serialization_alias="S")
    inner: Inner | None = None
    inners: dict[str, list[Inner]] = {}


class Generated(pydantic.BaseModel):
    model_config = ConfigDict(alias_generator=_pascal)
    first_name: str


class Secrets(pydantic.BaseModel):
    token: SecretStr
    data: SecretBytes = SecretBytes(b"")
    number: pydantic.Secret[int] = pydantic.Secret(0)
    more: dict[str, SecretStr] = {}


class Colour(enum.Enum):
    RED = "red"


class Strict(pydantic.BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    number: int
    ident: uuid.UUID
    when: dt.datetime
    parts: tuple[int, ...]
    words: set[str]
    amount: decimal.Decimal
    colour: Colour
    length: dt.timedelta

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def double(self) -> int:
        return self.number * 2


class Open(pydantic.BaseModel):
    model_config = ConfigDict(extra="allow")
    number: int = 1


class Private(pydantic.BaseModel):
    number: int = 1
    _seen: int = pydantic.PrivateAttr(default=0)


class Excluded(pydantic.BaseModel):
    kept: str = Field(default="x", exclude=True)


class Bytes(pydantic.BaseModel):
    data: bytes
    parts: list[bytes] = []


class Base64(pydantic.BaseModel):
    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")
    data: bytes


class CatModel(pydantic.BaseModel):
    kind: Literal["cat"] = "cat"


class DogModel(pydantic.BaseModel):
    kind: Literal["dog"] = "dog"
    tricks: list[str] = []


class Pet(pydantic.BaseModel):
    animal: Annotated[CatModel | DogModel, Field(discriminator="kind")]


class Root(pydantic.RootModel[dict[str, dt.datetime]]):
    pass


class Types(pydantic.BaseModel):
    url: pydantic.AnyUrl = pydantic.AnyUrl("http://a/b")
    address: ipaddress.IPv4Address = ipaddress.IPv4Address("1.2.3.4")
    path: pathlib.Path = pathlib.Path("/tmp")
    pattern: re.Pattern[str] = re.compile("a.*")
    zone: ZoneInfo = BERLIN
    size: pydantic.ByteSize = pydantic.ByteSize(5)
    parsed: pydantic.Json[list[int]] = [1]  # type: ignore[assignment]
    moment: dt.datetime | None = None
    ratio: float | None = None
    keyed: dict[int, str] = {}
    anything: Any = None


class Holder(pydantic.BaseModel):
    base: Private
    same: pydantic.SerializeAsAny[Private] = Private()


class Derived(Private):
    extra: int = 2


class Lossy(pydantic.BaseModel):
    parts: dict[str, int]

    @pydantic.field_serializer("parts")
    def shorten(self, parts: dict[str, int]) -> dict[str, int]:
        return dict.fromkeys(parts, 0)


class Growing(pydantic.BaseModel):
    number: int

    @pydantic.field_validator("number")
    @classmethod
    def grow(cls, number: int) -> int:
        return number + 1


class Boxed(pydantic.BaseModel, Generic[T]):
    value: T


class Patch(pydantic.BaseModel):
    name: str | None = None
    age: int | None = None


class WithDefaults(pydantic.BaseModel):
    ident: uuid.UUID = Field(default_factory=uuid.uuid4)
    items: list[int] = []


def carried(model: Any, encoding: Encoding) -> Any:
    codec = CODEC.of(type(model), encoding)
    return codec.decode(codec.encode(model))


def _changed_default() -> WithDefaults:
    model = WithDefaults()
    model.items.append(3)
    return model


CARRIED: list[Any] = [
    Aliased(userName="ann", shown=3, inner=Inner(N=1), inners={"a": [Inner(N=2)]}),
    Generated(FirstName="ann"),
    Strict(
        number=1, ident=uuid.UUID(int=1), when=dt.datetime(2024, 1, 1, tzinfo=dt.UTC), parts=(1,), words={"a"},
        amount=decimal.Decimal("1.10"), colour=Colour.RED, length=dt.timedelta(1),
    ),
    Open.model_validate({"number": 2, "other": ["x"]}),
    Private(),
    Excluded(kept="here"),
    Bytes(data=b"a", parts=[b"b"]),
    Base64(data=b"\xff"),
    Pet(animal=DogModel(tricks=["sit"])),
    Root({"a": dt.datetime(2024, 11, 3, 1, 30, fold=1, tzinfo=BERLIN)}),
    Types(parsed="[1, 2]", moment=dt.datetime(2024, 1, 1, tzinfo=BERLIN), ratio=-0.0, keyed={1: "a"}, anything=[1]),  # type: ignore[arg-type]
    Holder(base=Private(number=3)),
    Lossy(parts={"a": 1}),
    Boxed[list[int]](value=[1]),
    WithDefaults(),
    _changed_default(),
]  # fmt: skip


@BOTH
@pytest.mark.parametrize("model", CARRIED, ids=lambda model: type(model).__name__)
def test_these_models_come_out_equal(model: Any, encoding: Encoding) -> None:
    received = carried(model, encoding)
    assert received == model
    assert difference(model, received) is None


@BOTH
def test_secrets_arrive(encoding: Encoding) -> None:
    sent = Secrets(token=SecretStr("hunter2"), number=pydantic.Secret(7), more={"a": SecretStr("b")})
    received = carried(sent, encoding)
    assert received.token.get_secret_value() == "hunter2"
    assert received == sent
    assert "hunter2" not in repr(received)


def test_bytes_of_any_value_are_carried_between_processes() -> None:
    for model in (Bytes(data=b"\xff"), Secrets(token=SecretStr(""), data=SecretBytes(b"\xff"))):
        assert carried(model, MSGPACK) == model
        with pytest.raises(ValueError, match=r"does not come out of its validation equal.*`\$\.data`"):
            carried(model, JSON)


def test_which_fields_were_set_is_carried_between_processes() -> None:
    """A change that names some fields only must not become one of all fields."""
    assert carried(Patch(name=None), MSGPACK).model_dump(exclude_unset=True) == {"name": None}
    assert carried(Patch(age=3), JSON) == Patch(age=3)


@BOTH
@pytest.mark.parametrize(
    ("model", "path"),
    [
        (Holder(base=Derived()), "base"),
        (Holder(base=Private(), same=Derived()), "same"),
        (Growing(number=1), "number"),
        (Types(anything=(1, 2)), "anything"),
        (Open.model_validate({"when": dt.date(2024, 1, 1)}), r"__pydantic_extra__\['when'\]"),
    ],
    ids=lambda sample: type(sample).__name__,
)
def test_a_model_that_would_change_is_refused_with_its_field(model: Any, path: str, encoding: Encoding) -> None:
    with pytest.raises(ValueError, match=rf"`\$\.{path}`"):
        carried(model, encoding)


@BOTH
def test_private_attributes_that_changed_are_refused(encoding: Encoding) -> None:
    model = Private()
    model._seen = 5
    with pytest.raises(ValueError, match=r"__pydantic_private__\['_seen'\]"):
        carried(model, encoding)


def test_json_refuses_a_number_that_it_does_not_have() -> None:
    assert math.isnan(carried(Types(ratio=math.nan), MSGPACK).ratio)
    with pytest.raises(ValueError, match=r"`\$\.ratio`"):
        carried(Types(ratio=math.nan), JSON)


@BOTH
def test_a_subclass_is_refused_where_its_base_is_annotated(encoding: Encoding) -> None:
    with pytest.raises(ValueError, match=r"Expected `Private`, got its subclass `Derived`.*`\$\[0\]`"):
        CODEC.of(list[Private], encoding).encode([Derived()])
    with pytest.raises(ValueError, match="Expected `Private`, got `dict`"):
        CODEC.of(Private, encoding).encode({"number": 1})


@BOTH
def test_people_may_use_aliases(encoding: Encoding) -> None:
    for name in ("userName", "user_name"):
        encode = msgspec.json.encode if encoding is JSON else msgspec.msgpack.encode
        assert CODEC.of(Aliased, encoding).decode(encode({name: "ann"})) == Aliased(userName="ann")


@BOTH
def test_no_message_shows_the_data(encoding: Encoding) -> None:
    bad = (
        msgspec.json.encode({"token": ["hunter2"]})
        if encoding is JSON
        else msgspec.msgpack.encode({"token": ["hunter2"]})
    )
    with pytest.raises(ValueError, match="token: Input should be a valid string") as caught:
        CODEC.of(Secrets, encoding).decode(bad)
    broken = Strict.model_construct(number="hunter2")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="`Strict`") as refused:
        CODEC.of(Strict, encoding).encode(broken)
    for error in (caught.value, refused.value):
        seen: BaseException | None = error
        while seen is not None:
            assert "hunter2" not in str(seen)
            seen = None if seen.__suppress_context__ and seen.__cause__ is None else seen.__cause__ or seen.__context__
