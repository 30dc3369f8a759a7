"""Makes the authorization of a silo, if anything restricts its callers: see `preparing.py`."""

from __future__ import annotations

from collections.abc import Iterable

from grange.counted import counted
from grange.observability.security_events import AuthorizationInForce
from grange.runtime.activations.hosted import HostedType
from grange.runtime.requests.authorization import Authorization
from grange.security.policy import Mode, Policy
from grange.silo.definition import SiloDefinition
from grange.silo.stages import Ports


def prepare_authorization(
    definition: SiloDefinition, ports: Ports, hosted: Iterable[HostedType]
) -> Authorization | None:
    """The authorization of a silo, None if nothing restricts its callers. It is said once which."""
    if not definition.restricts:
        return None
    policy = Policy(definition.config.rules, definition.requirements())
    plans = {(each.name, name): plan for each in hosted for name, plan in each.plans.items()}
    mode = Mode(definition.config.authorization)
    return Authorization(policy, definition.authorize, mode, plans, ports.events)


def in_force(authorization: Authorization | None) -> AuthorizationInForce:
    """What decides about callers, as an event."""
    if authorization is None:
        text = "nothing restricts callers: each that is connected may call every grain"
        return AuthorizationInForce("none", text)
    policy = authorization.policy
    parts = [counted(len(policy.rules), "rule")] if policy.rules else []
    if authorization.has_function:
        parts.append("the policy function")
    if policy.requirements:
        parts.append(f"@requires of {counted(len(policy.requirements), 'method')}")
    does = "refuses" if authorization.mode is Mode.ENFORCE else "reports, and does not refuse,"
    text = f"{' and '.join(parts)} decide who may call what; the silo {does} other calls"
    if not policy.rules and not authorization.has_function:
        text += "; each that is connected may call all other methods"
    return AuthorizationInForce(str(authorization.mode), text)
