"""The bytes of version 1, frozen. A failure here means that the change breaks every running peer."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf.descriptor import FieldDescriptor, FileDescriptor

from grange.errors import HandshakeRefused
from grange.proto import packed
from grange.proto._generated.grange.v1 import silo_pb2
from grange.proto.codec import decode_frame, decode_greeting, encode_frame, encode_greeting
from grange.proto.handshake import Hello, Role, Welcome
from grange.proto.ids import GrainId, SiloAddress
from grange.proto.message import (
    GOODBYE,
    Cancel,
    Encoding,
    Message,
    Reason,
    Rejection,
    Request,
    Response,
    Status,
    renewal,
)

SILO = SiloAddress("10.0.0.1", 11111, 1_700_000_000_000)
OBSERVER = GrainId("$client", "ff1f30af3045633e3053d9e24c49a9cc/be8375c070da4344")
CONTRACT = Path(__file__).with_name("contract.txt")

FRAMES: dict[str, tuple[list[Message], str]] = {
    "smallest request": (
        [Request(1, GrainId("cart", "ann"), "add", b"\x90")],
        "221508011204636172741a03616e6e22036164642a0190",
    ),
    "fullest request": (
        [Request(2**64 - 1, GrainId("cart", "ü"), "add", b"[1]", Encoding.JSON, 30_000, b"\x81\xa1k\xa1v", True, 7)],
        "223008ffffffffffffffffff011204636172741a02c3bc22036164642a035b315d300138b0ea01420581a16ba17648015007",
    ),
    "traced request": (
        [
            Request(
                1,
                GrainId("cart", "ann"),
                "add",
                b"\x90",
                traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            ),
        ],
        "224e08011204636172741a03616e6e22036164642a01905a3730302d346266393266333537376233346461366133636539323964306530653437"
        "33362d303066303637616130626139303262372d3031",
    ),
    "request to a client": (
        [Request(1, OBSERVER, "show", b"\x91\xa2hi")],
        "224a0801120724636c69656e741a3166663166333061663330343536333365333035336439653234633439613963632f6265"
        "3833373563303730646134333434220473686f772a0491a26869",
    ),
    "request of a turn": (
        [Request(1, GrainId("cart", "ann"), "add", b"\x90", chain=b"\x01" * 8 + b"\xff" * 8)],
        "222708011204636172741a03616e6e22036164642a019062100101010101010101ffffffffffffffff",
    ),
    "request for a version": (
        [Request(1, GrainId("cart", "ann"), "add", b"\x90", interface_version=0xABCD0002)],
        "221b08011204636172741a03616e6e22036164642a0190688280b4de0a",
    ),
    "request of a user": (
        [Request(1, GrainId("cart", "ann"), "add", b"\x90", principal=b"\x94\xa3ann\x90\xa0\xa0")],
        "221f08011204636172741a03616e6e22036164642a0190720894a3616e6e90a0a0",
    ),
    "response": ([Response(300, b"\x01")], "2a0608ac02120101"),
    "fault": ([Response(1, b"\x80", failed=True)], "2a0708011201801801"),
    "nothing": ([Response(0)], "2a00"),
    "rejection": (
        [Rejection(1, Reason.NOT_HERE, "moved", SILO, 100, b"\x80")],
        "3226080110011a056d6f76656422140a0831302e302e302e3110e7561880d095ffbc312864320180",
    ),
    "bare rejection": ([Rejection(1, Reason.CANCELLED)], "32040801100a"),
    "goodbye": (
        [GOODBYE],
        "323310021a2f746869732073696c6f206973206c656176696e6720616e642074616b6573206e6f206d6f7265207265717565737473",
    ),
    "goodbye for a renewal": (
        [renewal("open another one", 2.0)],
        "321710081a106f70656e20616e6f74686572206f6e6528d00f",
    ),
    "cancel": ([Cancel(5)], "3a020805"),
    "interrupt": ([Cancel(5, True)], "3a0408051001"),
    "status": ([Status(5, "queued at 3")], "420f0805120b7175657565642061742033"),
    "mixed": (
        [Cancel(3), Response(2, b"\x01"), Request(1, GrainId("a", "b"), "c", b"\x90")],
        "220e08011201611a01622201632a01902a0508021201013a020803",
    ),
}
GREETINGS: dict[str, tuple[Hello | Welcome, str]] = {
    "hello of a silo": (
        Hello("prod", Role.SILO, "s1", SILO, SILO, 1, 2, "abc", 4_194_304),
        "0a440a0470726f641a02733122140a0831302e302e302e3110e7561880d095ffbc312a140a0831302e302e302e3110e7561880d095ffbc313001380242036162634880808002",
    ),
    "hello of a client": (Hello("prod", Role.CLIENT, "c"), "0a0f0a0470726f6410011a016330013801"),
    "hello with a token": (
        Hello("prod", Role.CLIENT, "c", token="a-token-of-some-length"),
        "0a270a0470726f6410011a0163300138015a16612d746f6b656e2d6f662d736f6d652d6c656e677468",
    ),
    "hello of a client with observers": (
        Hello("prod", Role.CLIENT, "c", client_key=bytes(range(16))),
        "0a210a0470726f6410011a0163300138016210000102030405060708090a0b0c0d0e0f",
    ),
    "hello that offers packed frames": (
        Hello("prod", Role.CLIENT, "c", packed=1),
        "0a110a0470726f6410011a0163300138015001",
    ),
    "welcome to packed frames": (
        Welcome("prod", SILO, 1, packed=1),
        "12200a0470726f6412140a0831302e302e302e3110e7561880d095ffbc3118013001",
    ),
    "welcome": (
        Welcome("prod", SILO, 1, "abc", 4_194_304),
        "12280a0470726f6412140a0831302e302e302e3110e7561880d095ffbc31180122036162632880808002",
    ),
}
PACKED: dict[str, str] = {
    "smallest request": "919e040182a474797065a463617274a36b6579a3616e6ea3616464c401900000c400c200a0c40000c400",
    "fullest request": (
        "919e04cfffffffffffffffff82a474797065a463617274a36b6579a2c3bca3616464c4035b315d01cd7530c40581a16ba176c307a0c40000c400"
    ),
    "traced request": (
        "919e040182a474797065a463617274a36b6579a3616e6ea3616464c401900000c400c200d93730302d3462663932663335373762333464613661"
        "33636539323964306530653437"
        "33362d303066303637616130626139303262372d3031c40000c400"
    ),
    "request of a turn": (
        "919e040182a474797065a463617274a36b6579a3616e6ea3616464c401900000c400c200a0c4100101010101010101ffffffffffffffff00c400"
    ),
    "request for a version": (
        "919e040182a474797065a463617274a36b6579a3616e6ea3616464c401900000c400c200a0c400ceabcd0002c400"
    ),
    "request of a user": (
        "919e040182a474797065a463617274a36b6579a3616e6ea3616464c401900000c400c200a0c40000c40894a3616e6e90a0a0"
    ),
    "request to a client": (
        "919e040182a474797065a724636c69656e74a36b6579d9316666316633306166333034353633336533303533643965323463"
        "3439613963632f62653833373563303730646134333434a473686f77c40491a268690000c400c200a0c40000c400"
    ),
    "response": "919405cd012cc40101c2",
    "fault": "91940501c40180c3",
    "nothing": "91940500c400c2",
    "rejection": (
        "9197060101a56d6f76656483a4686f7374a831302e302e302e31a4706f7274cd2b67aa67656e65726174696f6e"
        "cf0000018bcfe5680064c40180"
    ),
    "bare rejection": "919706010aa0c000c400",
    "goodbye": (
        "9197060002d92f746869732073696c6f206973206c656176696e6720616e642074616b6573206e6f206d6f7265207265717565737473c000c400"
    ),
    "goodbye for a renewal": "9197060008b06f70656e20616e6f74686572206f6e65c0cd07d0c400",
    "cancel": "91930705c2",
    "interrupt": "91930705c3",
    "status": "91930805ab7175657565642061742033",
    "mixed": "93930703c2940502c40101c29e040182a474797065a161a36b6579a162a163c401900000c400c200a0c40000c400",
}
BEFORE_PRINCIPALS: dict[str, str] = {
    "smallest request": "919d040182a474797065a463617274a36b6579a3616e6ea3616464c401900000c400c200a0c40000",
    "request for a version": (
        "919d040182a474797065a463617274a36b6579a3616e6ea3616464c401900000c400c200a0c400ceabcd0002"
    ),
    "mixed": "93920703940502c40101c29d040182a474797065a161a36b6579a162a163c401900000c400c200a0c40000",
}
"""Packed requests of a writer that does not know `principal`."""
BEFORE_VERSIONS: dict[str, str] = {
    "smallest request": "919c040182a474797065a463617274a36b6579a3616e6ea3616464c401900000c400c200a0c400",
    "request of a turn": (
        "919c040182a474797065a463617274a36b6579a3616e6ea3616464c401900000c400c200a0c4100101010101010101ffffffffffffffff"
    ),
    "mixed": "93920703940502c40101c29c040182a474797065a161a36b6579a162a163c401900000c400c200a0c400",
}
"""Packed requests of a writer that does not know `interface_version`."""
BEFORE_CHAINS: dict[str, str] = {
    "smallest request": "919b040182a474797065a463617274a36b6579a3616e6ea3616464c401900000c400c200a0",
    "traced request": (
        "919b040182a474797065a463617274a36b6579a3616e6ea3616464c401900000c400c200d93730302d3462663932663335373762333464613661"
        "33636539323964306530653437"
        "33362d303066303637616130626139303262372d3031"
    ),
    "mixed": "93920703940502c40101c29b040182a474797065a161a36b6579a162a163c401900000c400c200a0",
}
"""Packed requests of a writer that does not know `chain`."""
BEFORE_TRACES: dict[str, str] = {
    "smallest request": "919a040182a474797065a463617274a36b6579a3616e6ea3616464c401900000c400c200",
    "fullest request": (
        "919a04cfffffffffffffffff82a474797065a463617274a36b6579a2c3bca3616464c4035b315d01cd7530c40581a16ba176c307"
    ),
    "mixed": "93920703940502c40101c29a040182a474797065a161a36b6579a162a163c401900000c400c200",
}
"""Packed requests of a writer that does not know `traceparent`."""
REFUSAL = "1a130a0d77726f6e672d636c757374657212026e6f"


@pytest.mark.parametrize("name", FRAMES)
def test_frames_keep_their_bytes(name: str) -> None:
    messages, frozen = FRAMES[name]
    assert encode_frame(messages).hex() == frozen
    assert sorted(decode_frame(bytes.fromhex(frozen), 1000), key=repr) == sorted(messages, key=repr)


@pytest.mark.parametrize("name", FRAMES)
def test_packed_frames_keep_their_bytes(name: str) -> None:
    messages, frozen = FRAMES[name][0], PACKED[name]
    assert packed.encode_frame(messages).hex() == frozen
    assert packed.decode_frame(bytes.fromhex(frozen), 1000) == messages


@pytest.mark.parametrize("name", BEFORE_PRINCIPALS)
def test_requests_without_a_principal_are_read(name: str) -> None:
    assert packed.decode_frame(bytes.fromhex(BEFORE_PRINCIPALS[name]), 1000) == FRAMES[name][0]


@pytest.mark.parametrize("name", BEFORE_VERSIONS)
def test_requests_without_a_version_are_read(name: str) -> None:
    assert packed.decode_frame(bytes.fromhex(BEFORE_VERSIONS[name]), 1000) == FRAMES[name][0]


@pytest.mark.parametrize("name", BEFORE_CHAINS)
def test_requests_without_a_chain_are_read(name: str) -> None:
    assert packed.decode_frame(bytes.fromhex(BEFORE_CHAINS[name]), 1000) == FRAMES[name][0]


@pytest.mark.parametrize("name", BEFORE_TRACES)
def test_requests_without_a_trace_context_are_read(name: str) -> None:
    assert packed.decode_frame(bytes.fromhex(BEFORE_TRACES[name]), 1000) == FRAMES[name][0]


@pytest.mark.parametrize("name", GREETINGS)
def test_greetings_keep_their_bytes(name: str) -> None:
    greeting, frozen = GREETINGS[name]
    assert encode_greeting(greeting).hex() == frozen
    assert decode_greeting(bytes.fromhex(frozen), 1000) == greeting


def test_a_refusal_keeps_its_bytes() -> None:
    assert encode_greeting(HandshakeRefused("no", code="wrong-cluster")).hex() == REFUSAL


def test_the_contract_is_what_was_reviewed() -> None:
    """After a deliberate change, `python -m tests.wire.test_golden` writes the snapshot again, for reviewers to see."""
    assert snapshot(silo_pb2.DESCRIPTOR) == CONTRACT.read_text(encoding="utf-8")


def snapshot(file: FileDescriptor) -> str:
    """Every name, number and type of the contract, one per line."""
    lines = [f"package {file.package}"]
    for service in file.services_by_name.values():
        lines += [f"rpc {m.full_name} {m.input_type.name} -> {m.output_type.name}" for m in service.methods]
    for enum in file.enum_types_by_name.values():
        lines += [f"enum {enum.name} {value.number} {value.name}" for value in enum.values]
    for message in file.message_types_by_name.values():
        lines += [f"message {message.name} {field.number} {field.name} {kind(field)}" for field in message.fields]
    return "\n".join(lines) + "\n"


def kind(field: FieldDescriptor) -> str:
    """The field's type as the contract writes it."""
    named = field.message_type or field.enum_type
    number = FieldDescriptor.__dict__
    types = {number[key]: key.removeprefix("TYPE_").lower() for key in number if key.startswith("TYPE_")}
    return ("repeated " if field.is_repeated else "") + (named.name if named else types[field.type])


if __name__ == "__main__":
    CONTRACT.write_text(snapshot(silo_pb2.DESCRIPTOR), encoding="utf-8")
