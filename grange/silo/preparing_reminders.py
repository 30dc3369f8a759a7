"""Makes the reminders of a silo: a part of stage 7 of its start (`preparing.py`)."""

from __future__ import annotations

import random
from functools import partial
from typing import Any

from grange.grains.context import speaking_as
from grange.grains.definition import spec_of
from grange.grains.enumeration import CallsGrains
from grange.grains.interface import MethodSpec
from grange.grains.tick import DELIVERED
from grange.observability.counters import ReminderFigures
from grange.proto.identity import grain_principal
from grange.proto.ids import GrainId
from grange.reminders.jobs import SiloJobs
from grange.reminders.news import News, NewsDeps
from grange.reminders.operators import OperatorReminders
from grange.reminders.options import ReminderOptions
from grange.reminders.owners import Owners
from grange.reminders.payloads import Payloads
from grange.reminders.reminder import GrainReminders, RemindersDeps
from grange.reminders.service import ReminderService, ServiceDeps
from grange.reminders.store import Keeping, ReminderStore
from grange.silo.definition import SiloDefinition
from grange.silo.environment import SiloEnvironment
from grange.silo.reminders import SiloReminders, delivers
from grange.silo.stages import Before, Calls, Stores
from grange.storage.provider import ReminderStorage, SetStorage, offered


def prepare_reminders(
    definition: SiloDefinition, environment: SiloEnvironment, before: Before, calls: Calls
) -> SiloReminders:
    """The reminders of a silo. `before`: the stages that it needs. Nothing is read or delivered yet.

    Raises ConfigurationError for a class with a hook in a silo whose storage keeps no reminders.
    """
    ports, stores, links, cluster = before
    options = definition.config.reminder_settings()
    storage = _storage(definition, stores, options)
    if storage is None:
        return SiloReminders()
    rng, figures = random.Random(environment.random.getrandbits(64)), ReminderFigures()  # noqa: S311 no secret
    store = ReminderStore(storage, stores.guards.stamps.next, rng)
    owners = Owners(lambda: cluster.agent.view)
    tells = _Tells()
    service = None
    if delivers(definition):
        service = ReminderService(
            ServiceDeps(
                me=ports.address, call=_as_grain(calls), store=store, gate=cluster.gate, owners=owners,
                tell=tells.tell, events=ports.events, figures=figures, rng=rng,
            ),
            options,
        )  # fmt: skip
    news = tells.news = News(
        NewsDeps(
            me=ports.address, ask=links.sender.ask, owner=owners.owner, changed=cluster.agent.changed,
            hear=list if service is None else service.hear, rng=rng,
        )
    )  # fmt: skip
    deps = RemindersDeps(store=store, news=news, payloads=Payloads(calls.codec), options=options)
    return SiloReminders(
        make=partial(GrainReminders, deps), jobs=SiloJobs(deps), news=news, service=service, figures=figures,
        owners=owners, operators=OperatorReminders(deps),
    )  # fmt: skip


def _storage(definition: SiloDefinition, stores: Stores, options: ReminderOptions) -> Keeping | None:
    """The storage of reminders. None: it keeps none, and no class needs one."""
    storage = stores.guards.storages.get(options.provider)
    if storage is None:
        known = ", ".join(sorted(stores.guards.storages))
        problem = f"there is no storage {options.provider!r}; there are: {known}"
        raise definition.config.wrong(("reminders", "provider"), problem)
    sets, rows = offered(storage, SetStorage), offered(storage, ReminderStorage)
    if sets is not None and rows is not None:
        return Keeping(sets, rows)
    for cls in definition.grains:
        for hook in DELIVERED:
            if hasattr(cls, hook):
                problem = (
                    f"{cls.__name__} ({spec_of(cls).name!r}) has {hook}, and the storage {options.provider!r} keeps no "
                    "reminders; name one that does, such as SQLite, Redis or Postgres"
                )
                raise definition.config.wrong(("reminders", "provider"), problem)
    return None


def _as_grain(calls: Calls) -> CallsGrains:
    """Calls a grain in its own name: no other code has asked for its reminders and jobs."""
    call = calls.caller.call
    if not calls.deps.own:
        return call

    async def call_as_grain(
        grain_id: GrainId, method: MethodSpec, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        with speaking_as(grain_principal(grain_id.type)):
            return await call(grain_id, method, args, kwargs)

    return call_as_grain


class _Tells:
    """Binds the service to the news, which are made after it."""

    news: News

    def tell(self, grain_id: GrainId) -> object:
        """See `News.tell`."""
        return self.news.tell(grain_id)
