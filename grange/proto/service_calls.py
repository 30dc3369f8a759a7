"""Calls to silo services: the name of their system target, the question and the answer. Pure."""

from __future__ import annotations

import msgspec

from grange.proto.message import Reason

PREFIX = "service."
"""The system target of a silo service is its name after this prefix. It is on the wire."""


class ServiceCall(msgspec.Struct, array_like=True, frozen=True):
    """Question: run this method for this key. `args`, `context`, `chain` and `principal` are as in a `Request`."""

    key: str
    method: str
    args: bytes
    context: bytes = b""
    chain: bytes = b""
    principal: bytes = b""


class ServiceAnswer(msgspec.Struct, array_like=True, frozen=True):
    """Answer: the result, the fault if it `failed`, or the `reason` for which it was certainly not executed."""

    payload: bytes = b""
    failed: bool = False
    reason: Reason | None = None
    text: str = ""
