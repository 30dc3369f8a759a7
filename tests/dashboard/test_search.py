"""The list of activations over all silos: filter, order, pages, cut-off and silent silos."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grange.client.questions import Answer
from grange.dashboard.search import SORTS, decode_cursor, encode_cursor, filter_of, page_of, questions
from grange.proto.inspection import FIND, FindActivations
from grange.testing.loop import VirtualTime
from tests.dashboard.fakes import FakeCluster, FakeSilo, shown
from tests.dashboard.shown import logged_in


def walk(silos: list[FakeSilo], find: FindActivations) -> list[tuple[str, str]]:
    """Every row of every page, as type and key."""
    rows: list[tuple[str, str]] = []
    cursor = ""
    for _ in range(1000):
        places = decode_cursor(cursor)
        asked = questions(find, places, [str(silo.address) for silo in silos])
        answers = [Answer(s.member, s.find(asked[str(s.address)])) for s in silos if str(s.address) in asked]
        page = page_of(find, answers, places)
        assert len(page.facts["rows"]) <= find.limit
        rows += [(row["type"], row["key"]) for row in page.facts["rows"]]
        cursor = encode_cursor(page.places)
        if not cursor:
            return rows
    raise AssertionError("the pages do not end")


@given(
    st.lists(st.integers(0, 60), min_size=1, max_size=5),
    st.sampled_from(sorted(SORTS)),
    st.integers(1, 40),
    st.integers(0, 1000),
)
def test_the_pages_hold_every_row_once_and_in_order(counts: list[int], sort: str, limit: int, seed: int) -> None:
    silos = [FakeSilo(number, {"cart": ""}) for number in range(1, len(counts) + 1)]
    for silo, count in zip(silos, counts, strict=True):
        silo.fill("cart", count, seed + silo.address.port)
    find = FindActivations(sort=sort, limit=limit)
    rows = walk(silos, find)
    every = sorted((row for silo in silos for row in silo.activations), key=lambda r: (SORTS[sort](r), r.grain_id))
    assert rows == [(row.grain_id.type, row.grain_id.key) for row in every]


async def test_a_page_says_what_it_leaves_out(time: VirtualTime) -> None:
    cluster = FakeCluster(silos=3)
    for silo in cluster.silos:
        silo.fill("cart", 100, silo.address.port)
    first = cluster.silos[0]
    first.answers[FIND] = lambda question: msgspec.structs.replace(
        first.find(msgspec.msgpack.decode(question, type=FindActivations)), cut=True, looked_at=50
    )
    cluster.silos[2].is_dead = True
    async with shown(cluster, time) as dashboard:
        browser = await logged_in(dashboard)
        found = (await browser.get("/api/activations?type=cart&limit=200")).json
        assert (len(found["rows"]), found["matches"], found["looked_at"], found["total"]) == (200, 200, 150, 200)
        assert (found["cut"], found["silent"]) == (["silo-1"], ["silo-3"])
        assert [row["key"] for row in found["rows"]] == sorted(row["key"] for row in found["rows"])
        only = (await browser.get("/api/activations?silo=silo-2&limit=10&sort=age")).json
        assert {row["silo"] for row in only["rows"]} == {"silo-2"}
        ages = [row["age"] for row in only["rows"]]
        assert ages == sorted(ages, reverse=True)
        after = (await browser.get(f"/api/activations?silo=silo-2&limit=10&sort=age&cursor={only['cursor']}")).json
        assert after["rows"][0]["age"] <= ages[-1]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=ten", "limit"),
        ("limit=٣", "limit"),
        ("sort=size", "sort"),
        ("phase=gone", "phase"),
        ("min_age=-1", "min_age"),
        ("min_age=nan", "min_age"),
        ("min_idle=1e300", "min_idle"),
        ("min_turn=x", "min_turn"),
        ("min_waiting=1.5", "min_waiting"),
        ("contains=" + "x" * 5000, "contains"),
        ("silo=silo-9", "silo"),
        ("cursor=AAAA", "cursor"),
        ("cursor=%2e%2e", "cursor"),
        ("cursor=" + "A" * 20_000, "cursor"),
        ("format=xml", "format"),
    ],
)
async def test_a_wrong_filter_is_named(time: VirtualTime, query: str, field: str) -> None:
    async with shown(FakeCluster(), time) as dashboard:
        browser = await logged_in(dashboard)
        reply = await browser.get(f"/api/activations?{query}")
        assert (reply.status, reply.json["error"]["field"]) == (400, field)


async def test_a_file_of_rows_has_no_formulas(time: VirtualTime) -> None:
    cluster = FakeCluster(silos=1)
    cluster.silos[0].fill("cart", 1)
    row = cluster.silos[0].activations[0]
    for key in ("=1+1", "+1", "@x", "-1", 'a"b,c\nd', "<b>", "a;=1+1", "b\n@x", "c\t-1;+2", "\t=1", "d-1=2"):
        grain_id = msgspec.structs.replace(row.grain_id, key=key)
        cluster.silos[0].activations.append(msgspec.structs.replace(row, grain_id=grain_id))
    async with shown(cluster, time) as dashboard:
        browser = await logged_in(dashboard)
        reply = await browser.get("/api/activations?format=csv")
        assert reply.headers["content-type"].startswith("text/csv")
        assert "attachment" in reply.headers["content-disposition"]
        text = reply.body.decode()
        for formula in ("'=1+1", "'+1", "'@x", "'-1", '"a""b,c\nd"', ",a;'=1+1,", "b\n'@x", "c\t'-1;'+2,", ",d-1=2,"):
            assert formula in text
        assert not re.search(r"[,;\t\n][=+@-]", text)
        assert text.startswith("type,key,silo,")


def test_an_empty_filter_matches_all() -> None:
    parameters: dict[str, Any] = {}
    assert filter_of(parameters) == FindActivations()
