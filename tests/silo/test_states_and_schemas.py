"""Stored states and the methods of a type, as management shows them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec
import pytest

from grange import Grain, NoSuchGrain, PersistentState, Stored, one_way, read_only
from grange.proto.ids import GrainId
from grange.proto.inspection import SCHEMA, STATE, TASKS, ReadState, States, Tasks, TypeSchema
from grange.storage.memory import MemoryStorage
from grange.testing.cluster import TestCluster

CANARY = "canary-of-ann"


@dataclass
class Profile:
    name: str = ""
    password: str = ""
    cards: list[dict[str, str]] = field(default_factory=list)


class Person(Grain):
    """One person.

    More about it.
    """

    def __init__(
        self,
        profile: PersistentState[Profile],
        notes: Annotated[PersistentState[list[str]], Stored("remarks", provider="other")],
    ) -> None:
        self.profile, self.notes = profile, notes

    async def set(self, name: str, password: str, repeat: int = 1) -> Profile:
        """Change it."""
        self.profile.value = Profile(name, password, [{"number": password, "bank": name}])
        await self.profile.write()
        return self.profile.value

    @read_only
    async def friends(self) -> dict[str, list[int]]:
        return {}

    @one_way
    async def hint(self, other: Profile | None = None) -> None: ...


async def ask(cluster: TestCluster, service: str, question: bytes, kind: Any) -> Any:
    return msgspec.msgpack.decode(await cluster.client.ask(cluster.client.gateways[0], service, question), type=kind)


async def test_the_states_of_a_grain_are_read_as_stored_without_its_secrets() -> None:
    other = MemoryStorage()
    async with TestCluster([Person], silos=1, storages={"other": other}, redact=["profile.cards.*.number"]) as cluster:
        await cluster.get_grain(Person, "ann").set("Ann", CANARY)
        asked = msgspec.msgpack.encode(ReadState(GrainId("person", "ann")))
        answer = await cluster.client.ask(cluster.client.gateways[0], STATE, asked)
        assert CANARY.encode() not in answer
        states = msgspec.msgpack.decode(answer, type=States)
        first, second = states.rows
        assert msgspec.json.decode(first.json) == {
            "name": "Ann", "password": "***", "cards": [{"number": "***", "bank": "Ann"}],
        }  # fmt: skip
        assert (first.name, first.provider, first.etag, first.loaded) == ("profile", "default", "1", True)
        assert (second.name, second.provider, second.etag, second.size) == ("remarks", "other", "", 0)


async def test_a_grain_that_is_not_active_is_not_activated_by_the_question() -> None:
    async with TestCluster([Person], silos=1, storages={"other": MemoryStorage()}) as cluster:
        asked = msgspec.msgpack.encode(ReadState(GrainId("person", "eve"), "profile"))
        states: States = await ask(cluster, STATE, asked, States)
        assert [(row.name, row.json, row.loaded) for row in states.rows] == [("profile", "", False)]
        assert cluster.count() == 0


@pytest.mark.parametrize(
    ("question", "text"),
    [
        (ReadState(GrainId("nothing", "a")), "hosts no grain type 'nothing'"),
        (ReadState(GrainId("person", "a"), "diary"), "has no state 'diary'; it has: profile, remarks"),
    ],
)
async def test_a_state_that_no_class_has_is_named(question: ReadState, text: str) -> None:
    async with TestCluster([Person], silos=1, storages={"other": MemoryStorage()}) as cluster:
        with pytest.raises(NoSuchGrain, match=text):
            await cluster.silos[0].control.states.read(question)


async def test_the_methods_of_a_type_are_json_schema() -> None:
    async with TestCluster([Person], silos=1, storages={"other": MemoryStorage()}) as cluster:
        schema: TypeSchema = await ask(cluster, SCHEMA, b"person", TypeSchema)
        assert schema.help == "One person."
        methods = {method.name: method for method in schema.methods}
        assert sorted(methods) == ["friends", "hint", "set"]
        change = methods["set"]
        assert (change.help, change.read_only, change.one_way) == ("Change it.", False, False)
        assert msgspec.json.decode(change.parameters) == {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "password": {"type": "string"},
                "repeat": {"type": "integer", "default": 1},
            },
            "required": ["name", "password"],
            "additionalProperties": False,
        }
        assert "Profile" in msgspec.json.decode(change.result)["$defs"]
        assert methods["friends"].read_only
        assert methods["hint"].one_way
        assert msgspec.json.decode(methods["hint"].parameters)["properties"]["other"]["default"] is None


async def test_the_tasks_of_a_silo_are_listed() -> None:
    async with TestCluster([Person], silos=1, storages={"other": MemoryStorage()}) as cluster:
        tasks: Tasks = await ask(cluster, TASKS, b"", Tasks)
        assert tasks.total >= len(tasks.rows) > 0
        assert any("keep_fresh" in row.code for row in tasks.rows)
