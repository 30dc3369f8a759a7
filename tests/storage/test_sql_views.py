"""The statements of docs/operations/sql.md, on rows that silos have stored."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import asyncpg
import pytest

from grange import GrainId, Indexed
from grange.proto.message import Encoding
from grange.proto.values import ValueCodec
from grange.storage.provider import GrainStorage
from grange.storage.states.form import TypedForm
from grange.storage.states.state import PersistentState
from grange.storage.states.store import StateStore
from grange.storage.stores.postgres import PostgresStorage
from grange.storage.stores.sqlite import SqliteStorage
from tests.docs.pages import ROOT, blocks


@dataclass
class CartState:
    owner: Annotated[str, Indexed()] = ""
    total: int = 0


def statements(number: int) -> list[str]:
    """Those of one block of the page: Postgres, then SQLite."""
    page = [block for block in blocks(ROOT / "docs" / "operations" / "sql.md") if block.language == "sql"]
    return [text for text in page[number].text.split(";") if text.strip()]


async def store_carts(storage: GrainStorage) -> None:
    form = TypedForm[CartState](ValueCodec().of(CartState, Encoding.JSON), "a test")
    for key, owner, total in (("c1", "ann", 3), ("c2", "bob", 5), ("c3", "ann", 4)):
        state = PersistentState(StateStore(storage), GrainId("cart", key), "state", form, CartState)
        await state.load()
        state.value = CartState(owner, total)
        await state.write()


async def test_views_in_sqlite(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    async with SqliteStorage.open(f"sqlite:///{path}", "default") as storage:
        await store_carts(storage)
    with sqlite3.connect(path) as connection:
        view, totals, by_owner = statements(1)
        connection.execute(view)
        assert connection.execute(totals).fetchall() == [("ann", 7), ("bob", 5)]
        connection.execute(by_owner)
        found = connection.execute("SELECT cart FROM carts_by_owner WHERE owner = 'ann' ORDER BY cart").fetchall()
        assert found == [("c1",), ("c3",)]
    connection.close()


@pytest.mark.servers
async def test_views_in_postgres(postgres_url: str) -> None:
    async with PostgresStorage.open(postgres_url, "default") as storage:
        await store_carts(storage)
    connection = await asyncpg.connect(postgres_url)
    try:
        view, totals, by_owner = statements(0)
        await connection.execute(view)
        assert [tuple(row) for row in await connection.fetch(totals)] == [("ann", 7), ("bob", 5)]
        await connection.execute(by_owner)
        found = await connection.fetch("SELECT cart FROM carts_by_owner WHERE owner = 'ann' ORDER BY cart")
        assert [row["cart"] for row in found] == ["c1", "c3"]
    finally:
        await connection.close()
