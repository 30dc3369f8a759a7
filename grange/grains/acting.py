"""`acting_for(identity)`: code outside of grains makes its calls for a user."""

from __future__ import annotations

from contextvars import Token
from typing import cast

from grange.grains.context import acting, current_turn
from grange.grains.with_block import WithBlock
from grange.proto.clients import CLIENT_TYPE
from grange.proto.identity import SILO, Identity, check_user, encode_identity, spoken_by


class acting_for(WithBlock):
    """Within the block, calls of this task are those of a user: `with acting_for(Identity("user:ann")): await ...`.

    The code of a silo beside its grains may use it, and a client whose certificate the option `tls.speaks_for` names;
    calls of other clients are refused as Unauthorized, and certainly do not run. The runtime sets `Identity.via` of the
    calls: to that silo or client. Raises TypeError for anything but an Identity, ValueError for the name of a
    silo, grain, token or certificate, and RuntimeError in a grain: its calls are for its own caller.
    """

    __slots__ = ("_principal", "_token")
    FORM = "acting_for(identity)"
    _token: Token[bytes]

    def __init__(self, identity: Identity) -> None:
        if not isinstance(cast("object", identity), Identity):
            raise TypeError(f"acting_for takes an Identity, not {identity!r:.100}")
        # A silo's code speaks as the silo. A gateway replaces this by the name of the client.
        self._principal = spoken_by(encode_identity(check_user(identity)), SILO)
        super().__init__()

    def _begin(self) -> None:
        turn = current_turn.get()
        if turn is not None and turn.grain_id.type != CLIENT_TYPE:
            raise RuntimeError(f"the calls of {turn.grain_id} are for its caller: acting_for works outside of grains")
        self._token = acting.set(self._principal)

    def _end(self) -> None:
        acting.reset(self._token)
