"""A snapshot in which each figure has a value: for tests of all that reads snapshots, and for the benchmark."""

from __future__ import annotations

from grange.observability.histogram import Histogram
from grange.observability.security_snapshot import AuditSnapshot
from grange.observability.snapshot import (
    BalanceSnapshot,
    BlockingSnapshot,
    CertificateSnapshot,
    DirectorySnapshot,
    Load,
    MembershipSnapshot,
    MethodSnapshot,
    ObserverSnapshot,
    OutgoingSnapshot,
    PortSnapshot,
    ProcessSnapshot,
    ReminderSnapshot,
    SecretSnapshot,
    Snapshot,
    StoreSnapshot,
    TlsSnapshot,
    TrafficSnapshot,
    TypeSnapshot,
)
from grange.proto.ids import SiloAddress


def spread(*seconds: float):
    histogram = Histogram()
    for each in seconds:
        histogram.observe(each)
    return histogram.frozen()


QUICK = spread(0.00004, 0.0002, 0.0002, 0.03)
SLOW = spread(0.2, 1.7, 45.0)


def full_snapshot(types: int = 2, methods: int = 3, first_type: str = "type-0") -> Snapshot:
    return Snapshot(
        address=SiloAddress("10.0.0.1", 11111, 1_700_000_000_123),
        name="silo-1",
        cluster="shop",
        release="1.2.3",
        time=1_700_000_100.0,
        uptime=100.0,
        span=100.0,
        status="active",
        ready=True,
        types=tuple(
            TypeSnapshot(
                first_type if not number else f"type-{number}", "ring", 10 + number, 2, 12, 1, 1, 1, QUICK,
                tuple(
                    MethodSnapshot(f"method_{each}", QUICK + SLOW, 2, SLOW, QUICK, {"overloaded": 3}, 2, 3)
                    for each in range(methods)
                ),
                7, 1, {"idle": 3, "unresponsive": 1},
            )
            for number in range(types)
        ),
        outgoing=(OutgoingSnapshot("cart", "add", QUICK, 1, 2, 3, 1),),
        refused={"no-such-grain": 4},
        timeouts=1,
        in_flight=3,
        running=2,
        waiting=4,
        stuck=1,
        traffic=(TrafficSnapshot("silo", 5, 6, 500, 600, 2), TrafficSnapshot("client", 7, 8, 700, 800, 3)),
        clients=3,
        shed=2,
        lag=QUICK,
        directory=DirectorySnapshot(1, 2, 3, 4, 5, 6, 7, 8, 9, QUICK),
        membership=MembershipSnapshot(
            9, {"active": 2, "dead": 1}, 9, 2, 1, 1, 1, 3, "cut off", 1, "lost", QUICK, {"gone": 1}
        ),
        observers=ObserverSnapshot(9, 2, 1, 3, 1, 4),
        reminders=ReminderSnapshot(512, 40, 2, QUICK, 30, 3, 2, 1, 1),
        stores=(StoreSnapshot("default", {"read": QUICK, "write": SLOW}, {"StorageUnavailable": 2}, 1, 1),),
        process=ProcessSnapshot(12.5, 100_000_000, 200_000_000, 40, 12, 2.0, (100, 10, 1)),
        load=Load(0.4, "cpu", {"cpu": 0.4, "memory": 0.2}),
        shedding=0.25,
        blocking=BlockingSnapshot(3, 1),
        balance=BalanceSnapshot(0.25, 12, 30.0),
        certificate=CertificateSnapshot(1_700_086_500.0, 1_731_536_100.0, 2, 1, 3),
        tls=TlsSnapshot(
            {"silo": 1, "client": 4}, {"silo": 2, "client": 9}, {"expired": 5}, 6, {"age": 7, "pair": 2}, {"revoked": 1}
        ),
        would_refuse={"cart": 2},
        authorization_failed=1,
        audit=AuditSnapshot({"act": 4, "denial": 3}, {"call": 20, "handshake": 1}, 18, 2, 1),
        secrets=SecretSnapshot({"vault": 9, "file": 4}, {"vault": 2}, {"vault": 1}, 3),
        ports=(PortSnapshot("silo", 1, {"handshakes": 2}), PortSnapshot("client", 3, {"address-connections": 4})),
    )  # fmt: skip
