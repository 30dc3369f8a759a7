"""An error has the same class, arguments and attributes in the silo of the grain, in another silo and in a client."""

from __future__ import annotations

from typing import Any

import pytest

from grange import Grain, RemoteError
from grange.testing import TestCluster


class OutOfStock(Exception):
    """Keeps a property over a private name, and other arguments than its constructor takes."""

    def __init__(self, sku: str) -> None:
        super().__init__(f"no {sku} left")
        self._sku = sku

    @property
    def sku(self) -> str:
        return self._sku


class Unknown(Exception):
    pass


class Shelf(Grain, errors=[OutOfStock]):
    async def read(self) -> None:
        open("/nonexistent/file").close()

    async def look(self) -> int:
        prices: dict[tuple[int, int], int] = {}
        return prices[1, 2]

    async def decode(self) -> str:
        return b"caf\xe9".decode()

    async def spell(self) -> None:
        getattr(self, "colour")  # noqa: B009

    async def many(self) -> None:
        raise ExceptionGroup("both", [KeyError((1, 2)), ExceptionGroup("inner", [OutOfStock("pear")])])

    async def take(self) -> None:
        raise OutOfStock("pear")

    async def fail(self) -> None:
        raise Unknown("odd", object)


class Asker(Grain):
    async def ask(self, key: str, method: str) -> str:
        return await received(self.get_grain(Shelf, key), method)


async def received(shelf: Shelf, method: str) -> str:
    try:
        await getattr(shelf, method)()
    except Exception as error:
        return str(shown(error))
    raise AssertionError("no error")


def shown(error: BaseException) -> Any:
    if isinstance(error, BaseExceptionGroup):
        return (type(error), error.message, [shown(inner) for inner in error.exceptions])
    names = ("errno", "filename", "name", "object", "start", "end", "reason", "sku", "type_name")
    fields = {name: getattr(error, name) for name in names if hasattr(error, name)}
    return (type(error), error.args, str(error), fields)


@pytest.mark.parametrize(
    ("method", "part"),
    [
        ("read", "'filename': '/nonexistent/file'"),
        ("look", "((1, 2),)"),
        ("decode", "'start': 3"),
        ("spell", "'name': 'colour'"),
        ("many", "'sku': 'pear'"),
        ("take", "'sku': 'pear'"),
        ("fail", f"{RemoteError.__name__}"),
    ],
)
async def test_errors_are_the_same_near_and_far(method: str, part: str) -> None:
    async with TestCluster(grains=[Shelf, Asker], silos=2) as cluster:
        asker = cluster.get_grain(Asker, "asker")
        answers: dict[bool, set[str]] = {True: set(), False: set()}
        for number in range(12):
            shelf = cluster.get_grain(Shelf, f"shelf-{number}")
            answer = await asker.ask(shelf.key, method)
            answers[cluster.where(shelf) is cluster.where(asker)].add(answer)
        answers[False].add(await received(cluster.get_grain(Shelf, "shelf-0"), method))
    assert answers[True] == answers[False]
    assert len(answers[True]) == 1
    assert part in answers[True].pop()
