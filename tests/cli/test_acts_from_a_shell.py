"""The commands that inspect and act, against a real silo: roles, confirmation, exit codes, hostile texts, output."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest

from grange import Grain, PersistentState
from grange.cli.commands import main
from grange.cli.completion import complete_grain
from grange.cli.exit_codes import ExitCode
from grange.proto.acts import Level
from grange.proto.ids import GrainId
from grange.proto.inspection import (
    DETAIL,
    FIND,
    ActivationDetail,
    ActivationRow,
    FindActivations,
    FoundActivations,
    RequestRow,
)
from grange.proto.journal import EVENTS, LOGS, After, EventRow, Events, LogRow, Logs, ReadLogs
from grange.silo.silo import Silo
from tests.cli.shell import Shell

HOSTILE = "\x1b[2J\x1b]0;owned\x07ann\n\u202e<script>"
TOKEN = "the-token-of-viewers"


class Cart(Grain):
    def __init__(self, state: PersistentState[dict[str, str]]) -> None:
        self.state = state

    async def put(self, name: str, value: str) -> None:
        self.state.value[name] = value
        await self.state.write()


@asynccontextmanager
async def beside_a_silo(folder: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> AsyncIterator[Shell]:
    monkeypatch.chdir(folder)
    given = {"port": 0, "gateway_port": 0, "membership": "memory://", "storage": "memory://", **options}
    async with Silo([Cart], name="silo-1", **given) as silo:
        yield Shell(silo)


def serve(silo: Silo, target: str, answer: Callable[[bytes], Awaitable[bytes]]) -> None:
    """In the place of the silo's own answer, which these tests are not about."""
    targets = silo._running.hosting.client_targets
    targets._answers[target], targets._levels[target] = answer, Level.VIEWER


async def test_one_activation_is_deactivated_after_a_question(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with beside_a_silo(tmp_path, monkeypatch) as shell:
        cart = shell.silo.get_grain(Cart, "ann")
        await cart.put("a", "b")
        words = ("deactivate", "cart/ann", "--reason", "it is stuck")
        refused = await shell(*words, answer="n\n")
        assert "silo-1: the activation of 'cart/ann' (active) deactivates" in refused.stderr
        assert refused.exit_code == ExitCode.FAILED
        assert sum(shell.silo.catalog.counts().values()) == 1
        done = await shell(*words, answer="y\n")
        assert done.exit_code == 0, done.output
        assert "silo-1: done: 'cart/ann' deactivates" in done.stdout
        nothing = await shell(*words, "--yes")
        assert nothing.exit_code == ExitCode.FAILED
        assert "there is no activation of 'cart/ann'" in nothing.stdout
        audit = await shell.json("audit")
        assert [(row["action"], row["outcome"], row["reason"]) for row in audit["rows"]] == [
            ("deactivate", "begun", "it is stuck"),
            ("deactivate", "done", "it is stuck"),
        ]
        assert "@" in audit["rows"][0]["actor"]


async def test_a_program_gets_the_outcome_of_each_silo_as_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with beside_a_silo(tmp_path, monkeypatch) as shell:
        for key in "abc":
            await shell.silo.get_grain(Cart, key).put("a", "b")
        result = await shell("deactivate", "cart", "--reason", "a test", "--json")
        assert result.exit_code == ExitCode.USAGE
        (row,) = await shell.json("deactivate", "cart", "--reason", "a test", "--yes")
        assert (row["name"], row["outcome"], row["count"]) == ("silo-1", "done", 3)


async def test_idle_activations_are_collected_after_a_question(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with beside_a_silo(tmp_path, monkeypatch) as shell:
        await shell.silo.get_grain(Cart, "ann").put("a", "b")
        words = ("collect", "--idle", "0", "--reason", "memory is short")
        refused = await shell(*words, answer="n\n")
        assert refused.exit_code == ExitCode.FAILED
        assert "silo-1: of 1 activation, those idle for 0 s deactivate" in refused.stderr
        assert sum(shell.silo.catalog.counts().values()) == 1
        nothing = await shell("collect", "--idle", "1000", "--reason", "a test", "--yes")
        assert "silo-1: done: 0 idle activations deactivate" in nothing.stdout
        (row,) = await shell.json(*words, "--yes")
        assert (row["outcome"], row["count"]) == ("done", 1)
        assert (await shell(*words, "--json")).exit_code == ExitCode.USAGE


async def test_a_silo_that_is_gone_is_declared_dead_by_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"membership": "sqlite:///cluster.db", "actions": ("*",)}
    async with beside_a_silo(tmp_path, monkeypatch, **options) as shell:
        alone = await shell("declare-dead", "silo-1", "--reason", "a test")
        assert alone.exit_code == ExitCode.FAILED
        assert "no other silo is there to declare silo-1 dead" in alone.stderr
        other = Silo([Cart], name="silo-2", port=0, gateway_port=0, storage="memory://", **options)
        await other.start()
        await seen(shell, "silo-2", "active")
        await other.kill()
        words = ("declare-dead", "silo-2", "--reason", "its machine burned")
        refused = await shell(*words, answer="silo-1\n")
        assert refused.exit_code == ExitCode.FAILED
        assert "is declared dead, and ends if it still runs" in refused.stderr
        assert "Type silo-2 to do it" in refused.stderr
        done = await shell(*words, answer="silo-2\n")
        assert done.exit_code == 0, done.output
        assert "is dead in the membership table" in done.stdout
        again = await shell(*words, "--yes")
        assert again.exit_code == ExitCode.FAILED
        assert "is dead already" in again.stderr
        assert (await shell(*words, "--json")).exit_code == ExitCode.USAGE


async def seen(shell: Shell, name: str, status: str) -> None:
    """Wait until the silo knows the other one."""
    while not any((each.name, str(each.status)) == (name, status) for each in shell.silo.view.members):
        await asyncio.sleep(0.02)


async def test_to_declare_a_silo_dead_needs_an_admin_and_the_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"membership": "sqlite:///cluster.db", "admin_token": "the-token-of-admins", "operator_token": TOKEN}
    async with beside_a_silo(tmp_path, monkeypatch, **options) as shell:
        for name, token in (("operator", TOKEN), ("admin", "the-token-of-admins")):
            (tmp_path / name).write_text(token)
        async with Silo([Cart], name="silo-2", port=0, gateway_port=0, storage="memory://", **options):
            await seen(shell, "silo-2", "active")
            words = ("declare-dead", "silo-2", "--reason", "a test", "--yes", "--token-file")
            assert "needs the role admin, not operator" in (await shell(*words, "operator")).output
            assert "is switched off by the option actions" in (await shell(*words, "admin")).output


async def test_where_there_is_nothing_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with beside_a_silo(tmp_path, monkeypatch) as shell:
        assert (await shell("audit")).stdout.strip() == "no row yet"
        assert await shell.json("audit") == {"rows": [], "problems": []}
        lines = await shell("logs")
        assert lines.stderr.splitlines()[-2:] == [
            "silo-1: it keeps no log lines; the option keep_logs makes it", "no line matches",
        ]  # fmt: skip
        assert await shell.json("logs") == []
        for command in ("state", "activation"):
            wrong = await shell(command, "crat/ann")
            assert wrong.exit_code == ExitCode.FAILED
            assert "no silo hosts 'crat'; the types are: cart" in wrong.stderr


@pytest.mark.parametrize("phase", ["activating", "active", "deactivating"])
async def test_each_phase_can_be_searched_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, phase: str) -> None:
    async with beside_a_silo(tmp_path, monkeypatch) as shell:
        await shell.silo.get_grain(Cart, "ann").put("a", "b")
        found = await shell.json("grains", "cart", "--phase", phase)
        assert len(found["activations"]) == (phase == "active")


@pytest.mark.parametrize(
    "words", [("deactivate", "cart"), ("cordon", "silo-1"), ("collect", "--idle", "5"), ("declare-dead", "silo-1")]
)
async def test_what_ends_something_needs_a_reason(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with beside_a_silo(tmp_path, monkeypatch) as shell:
        result = await shell(*words)
        assert result.exit_code == ExitCode.USAGE
        assert "--reason" in result.stderr


async def test_a_cordon_is_shown_and_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with beside_a_silo(tmp_path, monkeypatch) as shell:
        result = await shell("cordon", "silo-1", "--reason", "a test")
        assert "silo-1: done: silo silo-1 is cordoned" in result.stdout
        table = (await shell("silos")).stdout
        assert "active, cordoned" in table
        assert "grpc" in table
        assert (await shell.json("silos"))[0]["cordoned"]
        await shell("uncordon", "silo-1")
        assert not (await shell.json("silos"))[0]["cordoned"]


async def test_a_viewer_reads_and_may_not_act(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with beside_a_silo(tmp_path, monkeypatch, admin_token="the-token-of-admins", viewer_token=TOKEN) as shell:
        (tmp_path / "token").write_text(f"{TOKEN}\n")
        viewer = ("--token-file", "token")
        await shell.silo.get_grain(Cart, "ann").put("a", "b")
        assert (await shell("status", *viewer)).exit_code == 0
        assert (await shell("state", "cart/ann", *viewer)).exit_code == 0
        for words in (
            ("deactivate", "cart", "--reason", "a", "--yes"), ("cordon", "silo-1", "--reason", "a"),
            ("uncordon", "silo-1"), ("drain", "silo-1"), ("log-level", "root", "DEBUG"),
            ("collect", "--idle", "5", "--reason", "a", "--yes"),
        ):  # fmt: skip
            refused = await shell(*words, *viewer)
            assert refused.exit_code == ExitCode.UNAUTHORIZED, refused.output
            assert "needs the role operator, and this client has the role viewer" in refused.stderr
        nothing = await shell("status")
        assert nothing.exit_code == ExitCode.UNAUTHORIZED
        assert "this client has no role" in nothing.stderr
        assert (await shell("silos")).exit_code == 0
        assert shell.silo.management.state().ready


async def test_a_state_is_shown_without_its_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with beside_a_silo(tmp_path, monkeypatch) as shell:
        await shell.silo.get_grain(Cart, "ann").put("password", "canary")
        await shell.silo.get_grain(Cart, "ann").put("name", HOSTILE)
        for result in (await shell("state", "cart/ann"), await shell("state", "cart/ann", "--json")):
            assert "canary" not in result.output
            assert "***" in result.stdout
            assert "\x1b" not in result.stdout
            assert "\u202e" not in result.stdout
        wrong = await shell("state", "cart/ann", "diary")
        assert "has no state 'diary'" in wrong.stderr


async def test_a_level_is_set_and_the_tasks_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with beside_a_silo(tmp_path, monkeypatch) as shell:
        result = await shell("log-level", "grange.directory", "debug", "--seconds", "30")
        assert "has the level DEBUG for 30 s" in result.stdout
        wrong = await shell("log-level", "grange.directory.x", "debug")
        assert wrong.exit_code == ExitCode.FAILED
        tasks = await shell.json("tasks", "silo-1")
        assert tasks["total"] == len(tasks["rows"])
        assert "of " in (await shell("tasks", "silo-1")).stdout


def found(asked: FindActivations, silo: Silo) -> FoundActivations:
    keys = [HOSTILE, "b", "c"]
    rows = [
        ActivationRow(GrainId("cart", key), "active", 5.0, float(number), number, 0, 0.0)
        for number, key in enumerate(keys)
    ]
    if asked.cursor:
        return FoundActivations(silo.address, (rows[2],), 3, 3, 10)
    return FoundActivations(silo.address, tuple(rows[:2]), 3, 3, 10, cut=True, cursor="after b")


async def test_the_activations_of_a_type_are_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with beside_a_silo(tmp_path, monkeypatch) as shell:
        asked: list[FindActivations] = []

        async def answer(question: bytes) -> bytes:
            asked.append(msgspec.msgpack.decode(question, type=FindActivations))
            return msgspec.msgpack.encode(found(asked[-1], shell.silo))

        serve(shell.silo, FIND, answer)
        result = await shell("grains", "cart", "--prefix", "a", "--idle", "3", "--waiting", "1", "--sort", "idle")
        assert asked == [FindActivations("cart", prefix="a", min_idle=3, min_waiting=1, sort="idle", limit=100)]
        assert "2 of 3 matches; looked at 3 of 10 activations" in result.stdout
        assert "cut at its budget on: silo-1" in result.stdout
        assert "\x1b" not in result.stdout
        assert r"\x1b[2J" in result.stdout.replace("\n", "")
        first = await shell.json("grains", "cart")
        assert [row["grain"] for row in first["activations"]] == [f"cart/{HOSTILE}", "cart/b"]
        second = await shell.json("grains", "cart", "--cursor", first["cursor"])
        assert [row["grain"] for row in second["activations"]] == ["cart/c"]
        assert (asked[-1].cursor, second["cursor"]) == ("after b", "")
        assert (await shell("grains", "cart", "--cursor", "zz")).exit_code == ExitCode.USAGE
        assert (await shell("grains", "--prefix", "a")).exit_code == ExitCode.USAGE
        assert (await shell("grains", "nothing")).exit_code == ExitCode.FAILED


async def test_an_activation_is_shown_with_the_stack_of_its_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with beside_a_silo(tmp_path, monkeypatch) as shell:
        row = ActivationRow(GrainId("cart", HOSTILE), "active", 5.0, 0.0, 0, 1, 2.0)
        turn = RequestRow(
            "put",
            "client\x1b",
            2.0,
            3.0,
            ("  File shop.py, line 3", "    await \x1b[31mx"),
            "",
            (f"cart/{HOSTILE}.get",),
        )
        detail = ActivationDetail(shell.silo.address, row, "ab", 3, "ring", "here", (), (turn,), (), ("state",))

        async def answer(_: bytes) -> bytes:
            return msgspec.msgpack.encode(detail)

        serve(shell.silo, DETAIL, answer)
        result = await shell("activation", "cart/ann")
        assert "placed by ring, view 3" in result.stdout
        assert "File shop.py, line 3" in result.stdout
        assert "put waits for cart/" in result.stdout
        assert "\x1b" not in result.stdout
        assert (await shell.json("activation", "cart/ann"))[0]["running"][0]["method"] == "put"


def log_rows(silo: Silo, question: bytes) -> bytes:
    asked = msgspec.msgpack.decode(question, type=ReadLogs)
    rows = [
        LogRow(1, 100.0, 20, "grange.silo", "first"),
        LogRow(2, 101.0, 40, "shop", f"second {HOSTILE}", error="Traceback\n  \x1b[31mline"),
    ]
    return msgspec.msgpack.encode(Logs(silo.address, tuple(rows) if asked.number < 0 else (), 2))


async def test_logs_and_events_are_inert_text_and_whole_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with beside_a_silo(tmp_path, monkeypatch) as shell:
        asked: list[ReadLogs] = []

        async def logs(question: bytes) -> bytes:
            asked.append(msgspec.msgpack.decode(question, type=ReadLogs))
            return log_rows(shell.silo, question)

        async def events(question: bytes) -> bytes:
            assert msgspec.msgpack.decode(question, type=After).number == -5
            row = EventRow(7, 102.0, "act", f"a text {HOSTILE}", {"action": "drain"})
            return msgspec.msgpack.encode(Events(shell.silo.address, (row,), 7))

        serve(shell.silo, LOGS, logs)
        serve(shell.silo, EVENTS, events)
        result = await shell("logs", "--level", "warning", "--contains", "x", "--type", "cart", "--trace", "t")
        assert asked[0] == ReadLogs(-50, 50, 30, "x", "cart", "t")
        assert "00:01:40.000 silo-1 INFO grange.silo: first" in result.stdout
        assert "\x1b" not in result.stdout
        assert [row["number"] for row in await shell.json("logs")] == [1, 2]
        assert "silo-1 act: a text" in (await shell("events", "--lines", "5")).stdout
        assert (await shell.json("events", "--lines", "5"))[0]["facts"] == {"action": "drain"}


async def test_a_follower_gets_each_new_line_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It reads on after the last number, and ends with the silo."""
    monkeypatch.setattr("grange.cli.follow_command.PERIOD", 0.01)
    async with beside_a_silo(tmp_path, monkeypatch) as shell:
        numbers: list[int] = []

        async def logs(question: bytes) -> bytes:
            number = msgspec.msgpack.decode(question, type=ReadLogs).number
            numbers.append(number)
            if len(numbers) > 5:
                raise RuntimeError("the test ends here")
            first = 1 if number < 0 else number + 1
            return msgspec.msgpack.encode(
                Logs(shell.silo.address, (LogRow(first, 100.0 + first, 20, "shop", f"line {first}"),), first)
            )

        serve(shell.silo, LOGS, logs)
        monkeypatch.setattr("grange.cli.follow_command.complain", stop_at_problem)
        result = await shell("logs", "--follow", "--json", "--lines", "1")
        lines = [json.loads(line)["text"] for line in result.stdout.splitlines()]
        assert lines == ["line 1", "line 2", "line 3", "line 4", "line 5"]
        assert numbers == [-1, 1, 2, 3, 4, 5]


def stop_at_problem(text: str) -> None:
    raise KeyboardInterrupt(text)


async def test_a_watch_asks_again_and_shows_one_object_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rounds: list[float] = []

    def sleep(seconds: float) -> None:
        rounds.append(seconds)
        if len(rounds) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("grange.cli.watch.time.sleep", sleep)
    async with beside_a_silo(tmp_path, monkeypatch) as shell:
        result = await shell("status", "--watch", "2", "--json")
        assert result.exit_code == ExitCode.INTERRUPTED
        objects = [json.loads(line) for line in result.stdout.splitlines()]
        assert [each["cluster"] for each in objects] == ["default"] * 3
        assert rounds == [2.0] * 3


async def test_the_silo_itself_answers_searches_and_details(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with beside_a_silo(tmp_path, monkeypatch) as shell:
        for key in ("ann", "anton", "bob"):
            await shell.silo.get_grain(Cart, key).put("a", "b")
        rows = await shell.json("grains", "cart", "--prefix", "an", "--limit", "1")
        assert [row["grain"] for row in rows["activations"]] == ["cart/ann"]
        rest = await shell.json("grains", "cart", "--prefix", "an", "--cursor", rows["cursor"])
        assert [row["grain"] for row in rest["activations"]] == ["cart/anton"]
        assert (await shell.json("activation", "cart/bob"))[0]["states"] == ["state"]
        missing = await shell("activation", "cart/eve")
        assert missing.exit_code == ExitCode.FAILED
        assert "no silo has an activation of cart/eve" in missing.stderr


async def test_the_keys_of_active_grains_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that would disturb the terminal is not offered."""
    async with beside_a_silo(tmp_path, monkeypatch) as shell:
        for key in ("ann", "anton", "bob", f"an{HOSTILE}"):
            await shell.silo.get_grain(Cart, key).put("a", "b")
        context = click.Context(main, info_name="grange")
        context.params = {"gateway": [shell.silo.gateway]}
        parameter = click.Argument(["grain"])
        assert await asyncio.to_thread(complete_grain, context, parameter, "ca") == ["cart/"]
        assert await asyncio.to_thread(complete_grain, context, parameter, "cart/an") == ["cart/ann", "cart/anton"]
        assert await asyncio.to_thread(complete_grain, context, parameter, "nothing/an") == []
