"""The messages as bytes: arrays to whose end fields may be added."""

from __future__ import annotations

import msgspec
import pytest

from grange.membership.model.messages import (
    IndirectProbeReply,
    IndirectProbeRequest,
    Probe,
    ProbeReply,
    decode_probe,
    decode_probe_for,
    decode_probed_for,
    decode_reply,
    encode,
)
from grange.proto.ids import SiloAddress

SILO = SiloAddress("h", 1, 2)
SILO_BYTES = b"\x83\xa4host\xa1h\xa4port\x01\xaageneration\x02"
GOLDEN = [
    (Probe(7, SILO, True), decode_probe, b"\x93\x07" + SILO_BYTES + b"\xc3"),
    (ProbeReply(SILO, 7, 0.5, 3), decode_reply, b"\x94" + SILO_BYTES + b"\x07\xcb\x3f\xe0\0\0\0\0\0\0\x03"),
    (IndirectProbeRequest(SILO, 0.5), decode_probe_for, b"\x92" + SILO_BYTES + b"\xcb\x3f\xe0\0\0\0\0\0\0"),
    (IndirectProbeReply(SILO, False, 2), decode_probed_for, b"\x93" + SILO_BYTES + b"\xc2\x02"),
]


@pytest.mark.parametrize(("message", "decode", "data"), GOLDEN, ids=lambda each: type(each).__name__)
def test_the_encoding_is_frozen(message, decode, data):
    """Silos of two releases exchange messages while a cluster is upgraded."""
    assert encode(message) == data
    assert decode(data) == message


@pytest.mark.parametrize(("message", "decode", "data"), GOLDEN, ids=lambda each: type(each).__name__)
def test_a_field_of_a_later_release_is_ignored(message, decode, data):
    longer = bytes([data[0] + 1]) + data[1:] + b"\xa3new"
    assert decode(longer) == message


def test_a_field_that_an_earlier_release_does_not_send_has_its_default():
    assert decode_probe(b"\x92\x07" + SILO_BYTES) == Probe(7, SILO, mutual=False)
    assert decode_reply(b"\x92" + SILO_BYTES + b"\x07") == ProbeReply(SILO, 7)


@pytest.mark.parametrize("decode", [decode_probe, decode_reply, decode_probe_for, decode_probed_for])
@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x90", b"\x93\x07\x07\x07", b"\xff" * 100])
def test_other_bytes_are_refused(decode, data):
    with pytest.raises(msgspec.MsgspecError):
        decode(data)


@pytest.mark.parametrize("version", [-1, 2**63])
def test_a_version_that_no_table_can_have_is_refused(version):
    """A rebuilt table starts above every version that a peer reports, so a forged version must be refused."""
    with pytest.raises(msgspec.MsgspecError):
        decode_probe(encode(Probe(version, SILO, True)))
