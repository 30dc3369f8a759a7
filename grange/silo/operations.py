"""What each action finds, and does: one `Operation` per action of `proto/acts.py`.

`find` looks without waiting and changes nothing. `do` meets the same until its first await.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import msgspec

from grange.counted import counted
from grange.grains.deactivation import DeactivationCode, DeactivationReason
from grange.membership.agent import MembershipAgent
from grange.membership.model.member import Member, SiloStatus
from grange.placement.versions import VersionPolicy, VersionRules
from grange.proto.acts import Act, Action, Level
from grange.proto.ids import GrainId
from grange.proto.management import DrainState, Phase
from grange.runtime.activations.activation import Activation
from grange.runtime.activations.catalog import Catalog
from grange.runtime.activations.collector import idle_for
from grange.runtime.activations.workers import WorkerPool
from grange.runtime.calls.caller import Caller
from grange.silo.log_levels import LogLevels, level_named
from grange.silo.operation import Done, Found, NotDone, Operation, names_of, values_of
from grange.silo.tasks import tasks_of_loop

TABLE_TIMEOUT = 5.0
"""Seconds for a change of the membership table. After that its outcome is unknown."""


class CallValues(msgspec.Struct, forbid_unknown_fields=True):
    """The values of CALL. `arguments` are an array, or an object by name."""

    method: str
    arguments: msgspec.Raw = msgspec.Raw(b"[]")
    seconds: float = 10.0


class CollectValues(msgspec.Struct, forbid_unknown_fields=True):
    """The values of COLLECT: the seconds that an activation has been idle."""

    idle: float


class LogLevelValues(msgspec.Struct, forbid_unknown_fields=True):
    """The values of LOG_LEVEL: the name of a level, and for how many seconds."""

    level: str
    seconds: float = 600.0


class VersionRulesValues(msgspec.Struct, forbid_unknown_fields=True):
    """The values of VERSION_RULES. None: the rules as they were configured."""

    rules: VersionRules | None


class OperationDeps(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """The parts of a silo on which the actions work. `drained` tells the progress of its stop."""

    name: str
    catalog: Catalog
    caller: Caller
    agent: MembershipAgent
    levels: LogLevels
    versions: VersionPolicy
    drained: Callable[[], DrainState]
    begin_drain: Callable[[], None]


class Operations:
    """The actions of one silo."""

    def __init__(self, deps: OperationDeps) -> None:
        self._name = deps.name
        self._catalog = deps.catalog
        self._caller = deps.caller
        self._agent = deps.agent
        self._levels = deps.levels
        self._versions = deps.versions
        self._drained = deps.drained
        self._begin_drain = deps.begin_drain

    def all(self) -> Mapping[Action, Operation]:
        """Every action with its role."""
        operator, admin = Level.OPERATOR, Level.ADMIN
        return {
            Action.DEACTIVATE: Operation(operator, True, self._find_activations, self._deactivate),
            Action.COLLECT: Operation(operator, True, self._find_idle, self._collect),
            Action.CALL: Operation(admin, False, self._find_method, self._call),
            Action.CORDON: Operation(operator, True, self._find_uncordoned, self._cordon),
            Action.UNCORDON: Operation(operator, False, self._find_cordoned, self._uncordon),
            Action.DRAIN: Operation(operator, True, self._find_serving, self._drain),
            Action.LOG_LEVEL: Operation(operator, False, self._find_logger, self._set_level),
            Action.DUMP_TASKS: Operation(operator, False, self._find_tasks, self._dump_tasks),
            Action.VERSION_RULES: Operation(operator, False, self._find_rules, self._set_rules),
            Action.DECLARE_DEAD: Operation(admin, True, self._find_living, self._declare_dead),
        }

    # --- activations ----------------------------------------------------------------------------------------------

    def _find_activations(self, act: Act) -> Found:
        grain_type, slash, key = act.target.partition("/")
        hosted = self._catalog.hosted.get(grain_type)
        if hosted is None:
            raise NotDone(f"this silo hosts no grain type {grain_type!r}")
        if not slash:
            return _number(hosted.live, _deactivate(hosted.live, "activation", grain_type, "after its requests"))
        target = self._catalog.find(GrainId(grain_type, key))
        if target is None:
            raise NotDone(f"there is no activation of {act.target!r} in this silo")
        if isinstance(target, WorkerPool):
            workers = len(target.workers)
            return _number(workers, _deactivate(workers, "stateless worker", act.target, "after its requests"))
        busy = len(target.running) + len(target.waiting)
        where, waits = f"the activation of {act.target!r} ({target.phase.name.lower()})", counted(busy, "request")
        text = f"{where} deactivates after its {waits}"
        return Found(text, 1, f"{target.activation_id:032x}")

    async def _deactivate(self, act: Act) -> Done:
        grain_type, slash, key = act.target.partition("/")
        reason = DeactivationReason(DeactivationCode.OPERATOR, f"an operator deactivated it: {act.reason:.200}")
        if not slash:
            count = await self._catalog.deactivate_where(lambda each: each.grain_id.type == grain_type, reason)
            return Done(_deactivate(count, "activation", grain_type), count)
        target = self._catalog.find(GrainId(grain_type, key))
        assert target is not None, "it was found a moment ago"
        ending = [*target.workers] if isinstance(target, WorkerPool) else [target]
        for activation in ending:
            activation.deactivate(reason)
        return Done(f"{act.target!r} deactivates", len(ending))

    def _find_idle(self, act: Act) -> Found:
        seconds = values_of(act, CollectValues).idle
        if not seconds >= 0:
            raise NotDone(f"idle for 0 or more seconds, not {seconds:g}; 0 means all that are idle")
        most = sum(self._catalog.counts().values())
        return _number(most, f"of {counted(most, 'activation')}, those idle for {seconds:g} s deactivate")

    async def _collect(self, act: Act) -> Done:
        idle, now = values_of(act, CollectValues).idle, asyncio.get_running_loop().time()
        reason = DeactivationReason(DeactivationCode.IDLE, f"collected after {idle:g} s")
        count = await self._catalog.deactivate_where(lambda each: idle_for(each, idle, now), reason)
        return Done(counted(count, "idle activation deactivates", "idle activations deactivate"), count)

    # --- calls ----------------------------------------------------------------------------------------------------

    def _find_method(self, act: Act) -> Found:
        grain_id, method = _grain(act.target), values_of(act, CallValues).method
        hosted = self._catalog.hosted.get(grain_id.type)
        if hosted is not None and method not in hosted.methods:
            raise NotDone(f"{grain_id.type!r} has no method {method!r}; it has: {', '.join(hosted.methods)}")
        if hosted is not None and hosted.methods[method].method.streams:
            raise NotDone(f"{method!r} of {grain_id.type!r} streams its items; take them with `grange call`")
        target = self._catalog.find(grain_id)
        here = f"{target.activation_id:032x}" if isinstance(target, Activation) else "not here"
        return Found(f"{method!r} of {act.target!r} is called; its activation is {here}", 1, here)

    async def _call(self, act: Act) -> Done:
        values = values_of(act, CallValues)
        seconds = min(max(values.seconds, 0.001), 300.0)
        result = await self._caller.call_json(_grain(act.target), values.method, bytes(values.arguments), seconds)
        return Done(f"{values.method!r} of {act.target!r} was executed", 1, result.decode())

    # --- this silo ------------------------------------------------------------------------------------------------

    def _find_uncordoned(self, act: Act) -> Found:
        own = self._own(act)
        open_ones = sum(not each.cordoned for each in self._agent.view.active if each.address != own.address)
        last = "" if open_ones else "; every other silo is cordoned, too, so new grains still come here"
        return Found(f"silo {self._name} takes no new grains, and keeps its own{last}", 1, _cordon_of(own))

    def _find_cordoned(self, act: Act) -> Found:
        return Found(f"silo {self._name} takes new grains again", 1, _cordon_of(self._own(act)))

    async def _cordon(self, act: Act) -> Done:
        return await self._write_cordon(True)

    async def _uncordon(self, act: Act) -> Done:
        return await self._write_cordon(False)

    async def _write_cordon(self, cordoned: bool) -> Done:
        async with asyncio.timeout(TABLE_TIMEOUT):
            await self._agent.cordon(cordoned)
        return Done(f"silo {self._name} {'is cordoned' if cordoned else 'takes new grains'}", 1)

    def _find_serving(self, act: Act) -> Found:
        self._own(act)
        state = self._drained()
        if state.phase is not Phase.SERVING:
            raise NotDone(f"silo {self._name} stops already: {state.phase}")
        moves = counted(state.activations, "activation moves", "activations move")
        completes = counted(state.requests, "request completes", "requests complete")
        return Found(f"silo {self._name} stops: {moves}, {completes}", state.activations, str(state.phase))

    async def _drain(self, act: Act) -> Done:
        self._begin_drain()
        return Done(f"silo {self._name} drains", self._drained().activations)

    def _own(self, act: Act) -> Member:
        """The row of this silo. The act names it, or names none."""
        own = self._agent.view.get(self._agent.me)
        if own is None:
            raise NotDone("this silo has no row in the membership table yet")
        if act.target and act.target not in names_of(own):
            raise NotDone(f"this is silo {self._name} ({own.address}), not {act.target!r}")
        return own

    # --- logs, tasks ----------------------------------------------------------------------------------------------

    def _find_logger(self, act: Act) -> Found:
        values = values_of(act, LogLevelValues)
        try:
            self._levels.check(act.target, level_named(values.level), values.seconds)
            now = self._levels.current(act.target)
        except ValueError as error:
            raise NotDone(str(error)) from None
        text = f"the logger {act.target!r} has the level {values.level} for {values.seconds:g} s; now it has {now}"
        return Found(text, 1, now)

    async def _set_level(self, act: Act) -> Done:
        values = values_of(act, LogLevelValues)
        try:
            self._levels.set(act.target, level_named(values.level), values.seconds)
        except ValueError as error:
            raise NotDone(str(error)) from None
        return Done(f"the logger {act.target!r} has the level {values.level} for {values.seconds:g} s", 1)

    def _find_tasks(self, act: Act) -> Found:
        return Found("the tasks of the event loop are listed with their stacks", 1)

    async def _dump_tasks(self, act: Act) -> Done:
        tasks = tasks_of_loop(self._agent.me)
        return Done(counted(tasks.total, "task"), tasks.total, msgspec.json.encode(tasks.rows).decode())

    # --- versions of interfaces -----------------------------------------------------------------------------------

    def _find_rules(self, act: Act) -> Found:
        rules = values_of(act, VersionRulesValues).rules
        known = {name for member in self._agent.view.active for each in member.versions.values() for name in each}
        if act.target and act.target not in known:
            names = ", ".join(sorted(known)) or "none"
            raise NotDone(f"no active silo has a version of {act.target!r}; the interfaces with versions are: {names}")
        now = self._versions.of(act.target) if act.target else self._versions.default
        new = "its configured rules" if rules is None else f"the rules {rules}"
        return Found(f"{act.target or 'the default'} has {new}; now it has {now}", 1, str(now))

    async def _set_rules(self, act: Act) -> Done:
        self._versions.set_rules(act.target, values_of(act, VersionRulesValues).rules)
        now = self._versions.of(act.target) if act.target else self._versions.default
        return Done(f"{act.target or 'the default'} has the rules {now} on silo {self._name}", 1)

    # --- other silos ----------------------------------------------------------------------------------------------

    def _find_living(self, act: Act) -> Found:
        member = self._other(act)
        text = f"silo {act.target!r} ({member.address}, {member.status}) is declared dead, and ends if it still runs"
        return Found(text, 1, f"{member.address} {member.status}")

    async def _declare_dead(self, act: Act) -> Done:
        member = self._other(act)
        async with asyncio.timeout(TABLE_TIMEOUT):
            await self._agent.declare_dead(member.address)
        return Done(f"silo {member.address} is dead in the membership table", 1)

    def _other(self, act: Act) -> Member:
        fitting = [each for each in self._agent.view.members if act.target in names_of(each)]
        living = [each for each in fitting if each.status is not SiloStatus.DEAD]
        if len(living) != 1:
            raise NotDone(f"{act.target!r} names {counted(len(living), 'silo that is', 'silos that are')} not dead")
        if living[0].address == self._agent.me:
            raise NotDone("this silo does not declare itself dead; drain it, or ask another silo")
        return living[0]


def _deactivate(number: int, noun: str, of: str, after: str = "") -> str:
    """`1 activation of 'cart' deactivates after its requests`, `2 activations of 'cart' deactivate …`."""
    one, many = f"{noun} of {of!r} deactivates {after}", f"{noun}s of {of!r} deactivate {after.replace('its', 'their')}"
    return counted(number, one, many).rstrip()


def _number(count: int, text: str) -> Found:
    return Found(text, count, str(count), at_most=True)


def _cordon_of(member: Member) -> str:
    return "cordoned" if member.cordoned else "open"


def _grain(target: str) -> GrainId:
    grain_type, slash, key = target.partition("/")
    if not (grain_type and slash and key):
        raise NotDone(f"name a grain as type/key, not {target!r}")
    return GrainId(grain_type, key)
