"""Reading secrets: sources by their names, the last good value, pauses, and no wait for a source that hangs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from grange.errors import ConfigurationError, SecretUnavailable
from grange.security.references import Reference
from grange.security.secret_variable import VariableSecrets
from grange.security.secrets import SecretNews, Secrets
from grange.testing.loop import VirtualTime

MINE = Reference("mine", "key")


class Source:
    """A source that does what the test says."""

    def __init__(self) -> None:
        self.value: str | Exception = "canary-one"
        self.asked = 0
        self.free = asyncio.Event()
        self.free.set()

    async def read(self, name: str, fresh: bool) -> str:
        self.asked += 1
        await self.free.wait()
        if isinstance(self.value, Exception):
            raise self.value
        return self.value

    async def keep(self) -> None:
        return

    async def close(self) -> None:
        return


def made(**options: Any) -> tuple[Secrets, Source, list[SecretNews]]:
    secrets, source, news = Secrets(**options), Source(), list[SecretNews]()
    secrets._sources["mine"] = source
    secrets.report = news.append
    return secrets, source, news


@pytest.fixture
async def time() -> AsyncIterator[VirtualTime]:
    with VirtualTime(asyncio.get_running_loop()).installed() as time:
        yield time


async def test_the_sources_of_grange(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """S9: files, without blanks around them, and variables."""
    secrets = Secrets()
    (tmp_path / "pg").write_text(" canary-one\n")
    monkeypatch.setenv("SHOP_PASSWORD", "canary-two")
    assert (await secrets.read(Reference("file", str(tmp_path / "pg")))).reveal() == "canary-one"
    assert (await secrets.read(Reference("env", "SHOP_PASSWORD"))).reveal() == "canary-two"
    assert dict(secrets.figures.read) == {"file": 1, "env": 1}


async def test_a_file_that_a_link_leads_to_is_swapped_twice(tmp_path: Path) -> None:
    """As Kubernetes does it: the folder is a link, and its target is replaced."""
    secrets, link = Secrets(), tmp_path / "data"
    for number in range(3):
        (tmp_path / f"v{number}").mkdir()
        (tmp_path / f"v{number}" / "pg").write_text(f"canary-{number}")
        (tmp_path / "next").symlink_to(f"v{number}")
        (tmp_path / "next").replace(link)
        assert (await secrets.read(Reference("file", str(link / "pg")))).reveal() == f"canary-{number}"


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        (
            Reference("file", "/no/such"),
            r"^\$\{file:/no/such}: the file '/no/such' cannot be read: there is no such file",
        ),
        (Reference("env", "NO_SUCH"), r"^\$\{env:NO_SUCH}: the environment variable 'NO_SUCH' is not set"),
        (
            Reference("clown", "x"),
            r"there is no source of secrets named 'clown'; known are \$\{env:…}, \$\{file:…}, \$\{vault",
        ),
    ],
)
async def test_a_reference_that_leads_to_nothing_is_named(reference: Reference, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        await Secrets().read(reference)


async def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMPTY", "")
    with pytest.raises(ConfigurationError, match="is empty"):
        await VariableSecrets().read("EMPTY", fresh=False)


async def test_a_variable_that_is_no_text_is_refused_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the error of a library that encodes it would hold it."""
    monkeypatch.setenv("BYTES", "canary-\udcff")
    with pytest.raises(ConfigurationError, match="'BYTES' is not UTF-8") as caught:
        await VariableSecrets().read("BYTES", fresh=False)
    assert "canary" not in repr(caught.value)
    assert caught.value.__cause__ is None


async def test_the_last_good_value_is_used_until_it_is_too_old(time: VirtualTime) -> None:
    """S9: an hour by default; then a typed error; and it is read again when the source is back."""
    secrets, source, news = made()
    assert (await secrets.read(MINE)).reveal() == "canary-one"
    await time.advance(60)
    source.value = SecretUnavailable("it is sealed")
    for _ in range(100):
        await time.advance(35)
        assert (await secrets.read(MINE)).reveal() == "canary-one"
    assert secrets.unread == {"mine": 1}
    await time.advance(60)
    for _ in range(2):
        with pytest.raises(
            SecretUnavailable, match=r"^\$\{mine:key} was not read for 3\d{3} s.*: \$\{mine:key}: it is sealed"
        ):
            await secrets.read(MINE)
    assert [each.kind for each in news if each.kind != "unread"] == ["stale"]
    source.value = "canary-two"
    await time.advance(60)
    assert (await secrets.read(MINE)).reveal() == "canary-two"
    assert [each.kind for each in news if each.kind != "unread"] == ["stale", "back"]
    assert secrets.unread == {}


async def test_a_source_that_fails_is_asked_less_often(time: VirtualTime) -> None:
    """In between the last good value is used at once: a hundred connections do not ask a hundred times."""
    secrets, source, _ = made()
    await secrets.read(MINE)
    source.value = SecretUnavailable("it is sealed")
    asked = source.asked
    for _ in range(600):
        await time.advance(0.1)
        await secrets.read(MINE)
    assert 5 <= source.asked - asked <= 20
    assert (await secrets.read(MINE, fresh=True)).reveal() == "canary-one"


async def test_a_source_that_hangs_holds_up_no_new_connection(time: VirtualTime) -> None:
    """After a second the last good value is used. The first reading has none, and waits."""
    secrets, source, _ = made()
    source.free.clear()
    first = asyncio.create_task(secrets.read(MINE))
    await time.advance(20)
    assert not first.done()
    source.free.set()
    assert (await first).reveal() == "canary-one"
    source.free.clear()
    source.value = "canary-two"
    before = time.time()
    assert (await secrets.read(MINE)).reveal() == "canary-one"
    assert time.time() - before == pytest.approx(1.0)
    source.free.set()
    await time.advance(0)
    assert (await secrets.read(MINE)).reveal() == "canary-two"


async def test_those_who_wait_share_one_question(time: VirtualTime) -> None:
    """One of them that is cancelled does not end it for the others."""
    secrets, source, _ = made()
    source.free.clear()
    waiting = [asyncio.create_task(secrets.read(MINE)) for _ in range(3)]
    await time.advance(0)
    waiting[0].cancel()
    await time.advance(0)
    source.free.set()
    assert [(await each).reveal() for each in waiting[1:]] == ["canary-one"] * 2
    assert source.asked == 1


async def test_an_error_of_a_foreign_source_is_not_shown() -> None:
    """Its text may have the value in it."""
    secrets, source, _ = made()
    source.value = RuntimeError("canary-one")
    with pytest.raises(SecretUnavailable, match="its source raised RuntimeError") as caught:
        await secrets.read(MINE)
    assert "canary" not in str(caught.value)


async def test_at_its_end_it_closes_what_it_has_opened(tmp_path: Path) -> None:
    closed: list[str] = []

    class Closing(Source):
        async def keep(self) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                closed.append("keep")

        async def close(self) -> None:
            closed.append("close")

    secrets = Secrets()
    async with secrets.open():
        secrets._sources["mine"] = source = Closing()
        secrets._tasks.start(source.keep())
        await asyncio.sleep(0)
    assert closed == ["keep", "close"]
