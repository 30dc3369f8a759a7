"""Requests that another silo should take: a hint names it, or only it serves the version that the caller needs."""

from __future__ import annotations

from grange.errors import ConfigurationError
from grange.grains.context import place_of
from grange.grains.deactivation import DeactivationCode, DeactivationReason
from grange.proto.ids import SiloAddress
from grange.proto.message import Reason
from grange.proto.versions import parts_of
from grange.runtime.activations.activation import Activation
from grange.runtime.activations.deps import ActivationDeps
from grange.runtime.activations.hosted import HostedType
from grange.runtime.requests.invocation import Invocation
from grange.runtime.requests.refusal import Refused


def refuse_unserved(call: Invocation, hosted: HostedType, silo: SiloAddress | None, activation: object) -> None:
    """Refuse a caller of a version that this silo does not serve.

    `silo` is one that serves it; then the activation here, if there is one, ends after its turns, and the request waits
    for that. Without such a silo the activation stays: a caller must not end what no silo could replace.
    """
    number, version = parts_of(call.interface_version)
    interface, own = hosted.versions.get(number, (f"an interface of {hosted.name!r}", 0))
    text = f"this silo has version {own} of {interface}, and the caller needs version {version}"
    if silo is None:
        call.refuse(Refused(Reason.NO_SUCH_GRAIN, f"{text}, which no active silo serves"))
        return
    if isinstance(activation, Activation):
        needed = f"a caller needs version {version} of {interface}"
        activation.deactivate(DeactivationReason(DeactivationCode.VERSION, needed))
        activation.hold(call)
    else:
        call.refuse(Refused(Reason.NOT_HERE, text, hint=silo))


def hinted(call: Invocation, hosted: HostedType, deps: ActivationDeps) -> SiloAddress | None:
    """The other silo that the placement hint of a call names, if it takes new grains of the type."""
    place = place_of(call.context)
    if not place or place == str(deps.address) or hosted.options.stateless_workers:
        return None
    try:
        silo = SiloAddress.parse(place)
    except ConfigurationError:
        return None  # a peer made it up
    carrier = deps.moves.carrier
    if carrier.obstacle(hosted.name, silo, call.interface_version):
        return None
    carrier.expect(call.grain_id, silo)  # a gateway relays the call there when its client repeats it
    return silo
