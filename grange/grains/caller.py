"""`caller()`: the identity of the code that asked for the turn that runs."""

from __future__ import annotations

from grange.grains.context import current_turn
from grange.proto.identity import Identity, decode_identity


def caller() -> Identity | None:
    """The identity of the call whose turn runs: the user or program at the beginning of the chain of calls.

    Grain methods, filters and observers call it. In timers, reminders, jobs and hooks it is the grain itself, such as
    `grain:cart`. None outside of turns, for callers without an identity, and where the cluster has no identities. Only
    the runtime sets it: `Identity.via` is the process or grain that makes the call in the name of the subject.
    """
    turn = current_turn.get()
    return None if turn is None else decode_identity(turn.principal)


def subject_of_turn() -> str:
    """The subject of the call whose turn runs; empty: none."""
    identity = caller()
    return "" if identity is None else identity.subject
