"""The network of silos, stores and client: network namespaces that can be cut from each other, or plain loopback.

Namespaces of one test: a hub with a bridge, in which stores and the client have addresses, and one per silo, joined by
a veth pair. Cuts: `unplug` takes a silo's link down. `block` silently loses all packets from one place to another, by a
wrong hardware address. (A blackhole route would make `connect` fail at once, which no real network does, and nft is not
installed everywhere.) `reject` gives the sender the hardware address of a decoy: a namespace with the receiver's IP
address and no listener, whose kernel resets every connection, as a firewall with a REJECT rule does.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from grange.servers.process import LOOPBACK, free_port

PREFIX = "gfault"
"""Prefix of every namespace of these tests; the pid of the process that made it follows."""

HUB = "hub"
SUBNET = "10.77.0.0/24"
HOSTS = {HUB: 254, "redis": 251, "postgres": 252, "a": 1, "b": 2, "c": 3, "d": 4, "e": 5, "f": 6}
HOSTS |= {f"p{number}": number + 10 for number in range(1, 200)}
"""The last part of each address. `p1` and so on are pods, which come and go."""

NOWHERE = "02:00:00:00:de:ad"
BRIDGE = "02:00:00:00:00:01"
"""The hardware address of the hub. Without one of its own, the bridge takes that of a link, and another one when the
link goes: the other places would send to the old one for seconds.
"""

OF_PLACES, OF_DECOYS = "02:00:00:00:01", "02:00:00:00:02"
"""The first parts of the hardware addresses of silos, and of the decoys that refuse in their place."""

STEADY_PORTS = range(20_000, 30_000)
"""Ports below those that the kernel chooses for outgoing connections."""

NAMESPACES = Path("/run/netns")
CLONE_NEWNET = 0x40000000


class Loopback:
    """No namespaces: all places are on 127.0.0.1, and no cut is possible."""

    can_cut = False

    async def heal(self) -> None:
        """Do nothing: there are no cuts."""

    def host(self, name: str) -> str:
        return LOOPBACK

    def port(self, wanted: int) -> int:
        return free_port()

    def enter(self, name: str) -> Sequence[str]:
        """The words before a command that run it at this place."""
        return ()

    def listener(self, name: str) -> socket.socket:
        """A listening socket at this place, on a free port."""
        return listening(LOOPBACK)


class Namespaces:
    """A hub and a namespace for each silo. Each coroutine that changes the network returns when the change is done."""

    can_cut = True

    def __init__(self, silos: Sequence[str]) -> None:
        self._prefix = f"{PREFIX}{os.getpid()}-{secrets.token_hex(2)}"
        self._silos = list(silos)
        self._unplugged: set[str] = set()
        self._deaf: set[tuple[str, str]] = set()
        self._refused: set[tuple[str, str]] = set()
        self._decoys: set[str] = set()

    def host(self, name: str) -> str:
        return f"10.77.0.{HOSTS[name]}"

    def port(self, wanted: int) -> int:
        return wanted

    def enter(self, name: str) -> Sequence[str]:
        return ("ip", "netns", "exec", self._namespace(name))

    def listener(self, name: str) -> socket.socket:
        """A listening socket at this place, on a free port."""
        made = self.socket(name)
        made.bind((self.host(name), 0))
        made.listen()
        made.setblocking(False)
        return made

    def socket(self, name: str, kind: int = socket.SOCK_STREAM) -> socket.socket:
        """A socket of this place: a socket stays in the namespace of the thread that created it."""

        def make() -> socket.socket:
            with (NAMESPACES / self._namespace(name)).open() as namespace:
                if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
            return socket.socket(socket.AF_INET, kind)

        with ThreadPoolExecutor(1) as thread:  # a thread of its own, so that no other thread changes its namespace
            return thread.submit(make).result()

    async def build(self) -> None:
        hub = self._namespace(HUB)
        await run("ip", "netns", "add", hub)
        await self._in(HUB, "link", "add", "br0", "address", BRIDGE, "type", "bridge")
        for name in (HUB, "redis", "postgres"):
            await self._in(HUB, "addr", "add", f"{self.host(name)}/24", "dev", "br0")
        for device in ("lo", "br0"):
            await self._in(HUB, "link", "set", device, "up")
        for name in self._silos:
            await self._join(name)

    async def add(self, name: str) -> None:
        """Add a place while the others are in use."""
        self._silos.append(name)
        await self._join(name)

    async def remove(self, name: str) -> None:
        """Remove a place whose processes have ended."""
        await run("ip", "netns", "del", self._namespace(name))
        self._silos.remove(name)

    async def _join(self, name: str) -> None:
        await run("ip", "netns", "add", self._namespace(name))
        await self._link(name, self.host(name), self._hardware(name))
        for device in ("lo", "eth0"):
            await self._in(name, "link", "set", device, "up")

    async def _link(self, name: str, host: str, hardware: str) -> None:
        """Join the namespace to the bridge by a veth pair; its end, `eth0`, is down."""
        peer = ("peer", "name", "eth0", "address", hardware, "netns", self._namespace(name))
        await self._in(HUB, "link", "add", f"to-{name}", "type", "veth", *peer)
        await self._in(HUB, "link", "set", f"to-{name}", "master", "br0", "up")
        await self._in(name, "addr", "add", f"{host}/24", "dev", "eth0")

    async def unplug(self, name: str) -> None:
        """Cut this silo from all other places, the stores included."""
        self._unplugged.add(name)
        await self._in(HUB, "link", "set", f"to-{name}", "down")

    async def plug(self, name: str) -> None:
        await self._in(HUB, "link", "set", f"to-{name}", "up")
        self._unplugged.discard(name)

    async def heal(self) -> None:
        """End every cut."""
        for name in sorted(self._unplugged):
            await self.plug(name)
        for sender, receiver in sorted(self._deaf):
            await self.unblock(sender, receiver)
        for sender, receiver in sorted(self._refused):
            await self.accept(sender, receiver)

    async def block(self, sender: str, receiver: str) -> None:
        """Lose packets from `sender` to `receiver`; packets in the other direction arrive."""
        self._deaf.add((sender, receiver))
        await self._divert(sender, receiver, NOWHERE)

    async def unblock(self, sender: str, receiver: str) -> None:
        """End the effect of `block`."""
        await self._resolve(sender, receiver)
        self._deaf.discard((sender, receiver))

    async def reject(self, sender: str, receiver: str) -> None:
        """Answer each TCP packet from `sender` to `receiver` with a reset; packets in the other direction arrive.

        New connections of the sender are refused at once. An existing one is reset when the sender sends, an
        acknowledgement included. The receiver is told nothing, as behind a firewall with REJECT in this direction.
        """
        await self.decoy(receiver)
        await self._divert(_decoy(receiver), sender, self._hardware(sender))
        self._refused.add((sender, receiver))
        await self._divert(sender, receiver, _hardware(OF_DECOYS, receiver))

    async def accept(self, sender: str, receiver: str) -> None:
        """End the effect of `reject`."""
        await self._resolve(sender, receiver)
        self._refused.discard((sender, receiver))

    async def decoy(self, receiver: str) -> None:
        """Make the decoy that refuses in place of this receiver; `reject` does so too, a moment later.

        It never speaks ARP: its device does not resolve addresses and answers no request, so that no other place sends
        to it. It has a permanent entry for each sender.
        """
        if receiver in self._decoys:
            return
        self._decoys.add(receiver)
        name = _decoy(receiver)
        await run("ip", "netns", "add", self._namespace(name))
        await self._link(name, self.host(receiver), _hardware(OF_DECOYS, receiver))
        for device in ("lo", "eth0"):
            await self._in(name, "link", "set", device, "arp", "off", "up")

    async def _divert(self, sender: str, receiver: str, hardware: str) -> None:
        """Have the sender send packets for the receiver's IP address to this hardware address."""
        where = ("neigh", "replace", self.host(receiver), "lladdr", hardware, "nud", "permanent")
        await self._in(sender, *where, "dev", "eth0")

    async def _resolve(self, sender: str, receiver: str) -> None:
        """Have the sender ask for the receiver's hardware address again."""
        await self._in(sender, "neigh", "del", self.host(receiver), "dev", "eth0")

    async def cut(self, one: str, other: str) -> None:
        """Cut two places from each other, in both directions."""
        await self.block(one, other)
        await self.block(other, one)

    async def restore(self, one: str, other: str) -> None:
        await self.unblock(one, other)
        await self.unblock(other, one)

    async def close(self) -> None:
        for name in (*self._silos, *map(_decoy, sorted(self._decoys)), HUB):
            with contextlib.suppress(RuntimeError):  # it does not exist
                await run("ip", "netns", "del", self._namespace(name))

    async def _in(self, name: str, *words: str) -> None:
        await run("ip", "-n", self._namespace(name), *words)

    def _hardware(self, name: str) -> str:
        return _hardware(OF_PLACES, name) if name in self._silos else BRIDGE

    def _namespace(self, name: str) -> str:
        own = name in self._silos or name in map(_decoy, self._decoys)
        return f"{self._prefix}-{name if own else HUB}"


def _decoy(receiver: str) -> str:
    """The name of the decoy of this receiver."""
    return f"decoy-{receiver}"


def _hardware(first: str, name: str) -> str:
    return f"{first}:{HOSTS[name]:02x}"


Network = Loopback | Namespaces


def missing() -> str:
    """The reason why namespaces are not possible here; empty if they are."""
    if shutil.which("ip") is None:
        return "there is no program `ip`"
    if os.geteuid() != 0:
        return "namespaces need root"
    name = f"{PREFIX}{os.getpid()}-try"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if made.returncode:
        return f"the kernel refuses a namespace: {made.stderr.strip()}"
    veth = ["ip", "-n", name, "link", "add", "v0", "type", "veth", "peer", "name", "v1"]
    paired = subprocess.run(veth, capture_output=True, text=True, check=False)
    bridge = ["ip", "-n", name, "link", "add", "br0", "type", "bridge"]
    bridged = subprocess.run(bridge, capture_output=True, text=True, check=False)
    subprocess.run(["ip", "netns", "del", name], check=False)
    if paired.returncode or bridged.returncode:
        return f"the kernel has no veth or bridge: {(paired.stderr + bridged.stderr).strip()}"
    return ""


def sweep() -> None:
    """Remove namespaces of killed tests; those of running tests stay."""
    for path in NAMESPACES.glob(f"{PREFIX}*-*"):
        owner = path.name.removeprefix(PREFIX).partition("-")[0]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists():
            subprocess.run(["ip", "netns", "del", path.name], capture_output=True, check=False)


@contextlib.asynccontextmanager
async def network(silos: Sequence[str]) -> AsyncGenerator[Network]:
    """Namespaces where they are possible, else loopback."""
    if missing():
        yield Loopback()
        return
    sweep()
    made = Namespaces(silos)
    try:
        await made.build()
        yield made
    finally:
        await made.close()


async def run(*command: str) -> None:
    """Run a short program. Raises RuntimeError with its error output."""
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    _, error_output = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)}: {error_output.decode().strip()}")


def steady_port() -> int:
    """A loopback port that is free, and that no outgoing connection takes while its silo is down.

    A connection to a free port of the kernel's own range may even reach itself, and would not be refused.
    """
    while True:
        port = STEADY_PORTS[secrets.randbelow(len(STEADY_PORTS))]
        with socket.socket() as probe, contextlib.suppress(OSError):  # it is taken
            probe.bind((LOOPBACK, port))
            return port


def listening(host: str) -> socket.socket:
    made = socket.create_server((host, 0))
    made.setblocking(False)
    return made
