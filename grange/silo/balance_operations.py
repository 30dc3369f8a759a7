"""The acts about where activations live: move one, suspend or resume the rebalancer of all silos."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import msgspec

from grange.counted import counted
from grange.directory.placer import Placer
from grange.grains.deactivation import DeactivationCode, DeactivationReason
from grange.membership.agent import MembershipAgent
from grange.membership.model.member import Member
from grange.placement.balance import LONGEST_SUSPENSION
from grange.proto.acts import Act, Action, Level
from grange.proto.ids import GrainId, SiloAddress
from grange.runtime.activations.activation import Activation
from grange.runtime.activations.catalog import Catalog
from grange.silo.operation import Done, Found, NotDone, Operation, names_of, values_of
from grange.silo.rebalancer import Rebalancer


class MoveValues(msgspec.Struct, forbid_unknown_fields=True):
    """The values of MOVE: the silo to move to, by its name or address; empty: where the placement chooses."""

    to: str = ""


class SuspendValues(msgspec.Struct, forbid_unknown_fields=True):
    """The values of SUSPEND_REBALANCING."""

    seconds: float


class BalanceOperations:
    """The acts of one silo about places."""

    def __init__(self, catalog: Catalog, placer: Placer, agent: MembershipAgent, rebalancer: Rebalancer) -> None:
        self._catalog = catalog
        self._placer = placer
        self._agent = agent
        self._rebalancer = rebalancer

    def all(self) -> Mapping[Action, Operation]:
        """Every action with its role."""
        operator = Level.OPERATOR
        return {
            Action.MOVE: Operation(operator, True, self._find_movable, self._move),
            Action.SUSPEND_REBALANCING: Operation(operator, False, self._find_running, self._suspend),
            Action.RESUME_REBALANCING: Operation(operator, False, self._find_suspended, self._resume),
        }

    def _find_movable(self, act: Act) -> Found:
        activation, target = self._movable(act)
        busy = len(activation.running) + len(activation.waiting)
        where = f"silo {target}" if target is not None else "the silo that its placement chooses"
        kept = "with what it carries" if activation.hosted.memory is not None else "and loses what it holds in memory"
        text = f"the activation of {act.target!r} moves to {where} after its {counted(busy, 'request')}, {kept}"
        return Found(text, 1, f"{activation.activation_id:032x}")

    async def _move(self, act: Act) -> Done:
        activation, target = self._movable(act)
        reason = DeactivationReason(DeactivationCode.MOVED, f"an operator moved it: {act.reason:.200}")
        departure = activation.migrate(target, reason)
        if departure is None:
            raise NotDone(f"the activation of {act.target!r} is not active yet; repeat the act")
        landed = await asyncio.shield(departure.outcome)
        if landed.silo is None:
            raise NotDone(f"{act.target!r} did not move: {landed.text}")
        return Done(
            f"{act.target!r} is active on silo {landed.silo}", 1, msgspec.json.encode(str(landed.silo)).decode()
        )

    def _movable(self, act: Act) -> tuple[Activation, SiloAddress | None]:
        """The activation and its target. Raises NotDone if it cannot move there."""
        grain_type, slash, key = act.target.partition("/")
        if not (grain_type and slash and key):
            raise NotDone(f"name a grain as type/key, not {act.target!r}")
        grain_id = GrainId(grain_type, key)
        activation = self._catalog.find(grain_id)
        if activation is None:
            raise NotDone(f"there is no activation of {act.target!r} in this silo")
        if not isinstance(activation, Activation) or not activation.hosted.options.migratable:
            raise NotDone(f"{act.target!r} does not move: its class has migratable=False or stateless_workers=")
        named = values_of(act, MoveValues).to
        target = self._silo_named(named) if named else None
        if target == self._agent.me:
            raise NotDone(f"{act.target!r} is on silo {named} already")
        if target is None:
            if self._placer.elsewhere(grain_id) is None:
                raise NotDone(f"no other silo can take {act.target!r}")
        elif obstacle := self._placer.obstacle(grain_type, target):
            raise NotDone(f"{act.target!r} cannot move to {named}: {obstacle}")
        return activation, target

    def _silo_named(self, name: str) -> SiloAddress:
        fitting: list[Member] = [each for each in self._agent.view.active if name in names_of(each)]
        if len(fitting) != 1:
            raise NotDone(f"{name!r} names {counted(len(fitting), 'active silo')}")
        return fitting[0].address

    # --- the rebalancer -------------------------------------------------------------------------------------------

    def _find_running(self, act: Act) -> Found:
        seconds = values_of(act, SuspendValues).seconds
        if not 0 < seconds <= LONGEST_SUSPENSION:
            raise NotDone(f"suspend for more than 0 and at most {LONGEST_SUSPENSION:g} seconds, not {seconds:g}")
        return Found(f"no activation moves by the rebalancer for {seconds:g} s, on any silo", 1, self._state())

    async def _suspend(self, act: Act) -> Done:
        seconds = values_of(act, SuspendValues).seconds
        self._rebalancer.suspension.set(seconds)
        return Done(f"the rebalancer is suspended for {seconds:g} s", 1)

    def _find_suspended(self, act: Act) -> Found:
        left = self._rebalancer.suspension.left
        if not left:
            raise NotDone("the rebalancer is not suspended")
        return Found(f"the rebalancer resumes on all silos, {left:.0f} s earlier", 1, self._state())

    async def _resume(self, act: Act) -> Done:
        self._rebalancer.suspension.set(0.0)
        return Done("the rebalancer resumes", 1)

    def _state(self) -> str:
        return "suspended" if self._rebalancer.suspension.left else "not suspended"
