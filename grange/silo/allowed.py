"""The system targets that explain the authorization of a silo: `grange allowed`, `grange rules` and the dashboard ask.

Messages: `proto/allowed.py`.
"""

from __future__ import annotations

import msgspec

from grange.proto.acts import Level
from grange.proto.allowed import ALLOWED, RULES, Allowed, AskAllowed, RulesInForce
from grange.runtime.activations.catalog import Catalog
from grange.runtime.system_target import SystemTargets
from grange.security.policy import requirement
from grange.silo.identities import Identities
from grange.silo.rule_notes import notes_of

_NOTHING = "nothing restricts callers: each that is connected may call every grain"


class AllowedAnswers:
    """The answers of one silo, on its silo port and on its gateway."""

    def __init__(self, catalog: Catalog, identities: Identities) -> None:
        self._catalog = catalog
        self._identities = identities

    def serve(self, targets: SystemTargets) -> None:
        """Offer the system targets."""
        targets.serve(ALLOWED, self._answer_allowed, Level.VIEWER)
        targets.serve(RULES, self._answer_rules, Level.VIEWER)

    def allowed(self, question: AskAllowed) -> Allowed:
        """Whether this caller may make this call in this silo, and why."""
        identity = None if question.identity is None else self._identities.known(question.identity)
        hosted = self._catalog.hosted.get(question.grain_type)
        unknown = hosted is not None and question.method not in hosted.methods
        rules = self._catalog.authorization
        if rules is None:
            return Allowed(True, _NOTHING, identity=identity, unknown=unknown)
        found = rules.policy.explain(identity, question.grain_type, question.method)
        function, allowed, why = "", found.allowed, found.why
        if rules.has_function:
            function = "not asked"
            if allowed and question.key is not None:
                refused = rules.ask(identity, question.grain_type, question.key, question.method)
                function, allowed, why = ("refuses", False, refused) if refused else ("allows", True, why)
        return Allowed(allowed, why, found.by, str(rules.mode), function, identity, unknown)

    def in_force(self) -> RulesInForce:
        """The rules of this silo."""
        rules = self._catalog.authorization
        if rules is None:
            return RulesInForce(notes=(_NOTHING,))
        methods = {name: tuple(hosted.methods) for name, hosted in self._catalog.hosted.items()}
        return RulesInForce(
            mode=str(rules.mode),
            rules=tuple(map(str, rules.policy.rules)),
            requires={
                "/".join(place): tuple(map(requirement, needs)) for place, needs in rules.policy.requirements.items()
            },
            function=rules.has_function,
            notes=notes_of(rules.policy.rules, rules.mode, methods),
        )

    async def _answer_allowed(self, question: bytes) -> bytes:
        return msgspec.msgpack.encode(self.allowed(msgspec.msgpack.decode(question, type=AskAllowed)))

    async def _answer_rules(self, _: bytes) -> bytes:
        return msgspec.msgpack.encode(self.in_force())
