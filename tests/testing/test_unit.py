"""`TestContext`: a grain with identity, fakes and timers in a unit test, without a cluster."""

from __future__ import annotations

import enum

import pytest

from grange import Grain, PersistentState
from grange.testing import TestContext


class Price(Grain):
    async def of(self, quantity: int) -> int:
        raise NotImplementedError


class Basket(Grain[int]):
    def __init__(self, total: PersistentState[int]) -> None:
        self.total = total
        self.label = f"basket {self.key}"
        self.ticks = 0

    async def on_activate(self) -> None:
        self.reminder = self.start_timer(self._remind, 60, 30)
        self.start_timer(self._close, 3600)

    async def add(self, sku: str, quantity: int) -> int:
        self.total.value += await self.get_grain(Price, sku).of(quantity)
        await self.total.write()
        self.delay_deactivation(5)
        return self.total.value

    async def _remind(self) -> None:
        self.ticks += 1
        if self.ticks == 2:
            self.reminder.stop()

    async def _close(self) -> None:
        self.deactivate_when_idle()


class FakePrice:
    async def of(self, quantity: int) -> int:
        return 3 * quantity


def built() -> tuple[TestContext[Basket], Basket]:
    context = TestContext(Basket, 7)
    return context, context.build(PersistentState.detached(0))


async def test_a_grain_has_its_identity_in_the_constructor() -> None:
    context, basket = built()
    assert (basket.label, basket.key, str(basket.id)) == ("basket 7", 7, "basket/7")
    assert len(basket.activation_id) == 32
    assert context.key == 7


async def test_a_wrong_key_is_refused() -> None:
    with pytest.raises(TypeError):
        TestContext(Basket, "seven")


async def test_grains_that_it_calls_are_fakes() -> None:
    context, basket = built()
    context.fake(Price, "apple", FakePrice())
    assert await basket.add("apple", 2) == 6
    assert context.kept_for == 5


async def test_a_missing_fake_is_named_with_the_remedy() -> None:
    _, basket = built()
    with pytest.raises(LookupError, match=r"price/pear.*context\.fake\(Price, 'pear', "):
        await basket.add("pear", 1)


async def test_a_fake_whose_method_is_not_async_is_refused() -> None:
    class Wrong:
        def of(self, quantity: int) -> int:
            return quantity

    context, _ = built()
    with pytest.raises(TypeError, match="async method 'of'"):
        context.fake(Price, "apple", Wrong())


async def test_a_fake_may_be_a_grain() -> None:
    context, basket = built()

    class Flat(Price, name="flat"):
        async def of(self, quantity: int) -> int:
            return int(self.key) * quantity

    context.fake(Price, "apple", TestContext(Flat, "10").build())
    assert await basket.add("apple", 2) == 20


async def test_timers_are_fired_by_hand() -> None:
    context, basket = built()
    await basket.on_activate()
    remind, close = context.timers
    assert (remind.due, remind.period, close.due) == (60, 30, 3600)
    await remind.fire()
    assert (basket.ticks, remind.due) == (1, 30)
    await remind.fire()
    assert not remind.active
    with pytest.raises(RuntimeError, match="not active"):
        await remind.fire()
    await close.fire()
    assert context.deactivating
    assert not close.active


async def test_a_timer_that_a_silo_would_refuse_is_refused() -> None:
    _, basket = built()
    with pytest.raises(TypeError, match="async"):
        basket.start_timer(lambda: None, 1)  # type: ignore[arg-type,return-value]
    with pytest.raises(ValueError, match="period"):
        basket.start_timer(basket._remind, 1, 0)


async def test_its_own_reference_can_be_passed_on_and_makes_no_calls() -> None:
    _, basket = built()
    assert isinstance(basket.reference, Basket)
    assert basket.reference.id == basket.id
    with pytest.raises(RuntimeError, match="no cluster"):
        await basket.reference.add("apple", 1)


def test_its_key_has_the_declared_kind_as_in_a_silo() -> None:
    class Fruit(enum.StrEnum):
        APPLE = "apple"

    context = TestContext(Price, Fruit.APPLE)
    assert type(context.key) is str
    assert context.key == "apple"
