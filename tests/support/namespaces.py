"""Machines on this one: network namespaces with two networks, of which one is cut and restored while programs run in them.

    with machines(3) as network:
        subprocess.Popen([*network.machines[0].command, "aegis", "serve", "--host", network.machines[0].address])
        network.machines[0].cut()           # it no longer reaches `network.back`: packets vanish, nobody is told
        network.machines[0].restore()

Each machine reaches this one at `network.front` (clients, receivers) and at `network.back` (the database). Only root may make
them; the test is skipped where it cannot be done.
"""

import os
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest


@dataclass(frozen=True)
class Machine:
    """One namespace.

    Args:
        address: where this machine reaches it, in the front network.
        wire: this machine's end of its way to the back network.
    """

    name: str
    address: str
    wire: str
    bridge: str

    @property
    def command(self) -> tuple[str, ...]:
        """What starts a program in it, before the program."""
        return ("ip", "netns", "exec", self.name)

    def cut(self) -> None:
        """Let every packet to and from the back network vanish."""
        _ip("link", "set", self.wire, "nomaster")

    def restore(self) -> None:
        """Let packets pass again."""
        _ip("link", "set", self.wire, "master", self.bridge)


@dataclass
class Network:
    """Machines and the addresses by which they reach this one.

    Args:
        front: address of this machine for clients and receivers.
        back: address of this machine for the database.
    """

    front: str
    back: str
    machines: list[Machine] = field(default_factory=list)

    @property
    def ranges(self) -> tuple[str, str]:
        """Both networks, front and back."""
        return _range_of(self.front), _range_of(self.back)


@contextmanager
def machines(count: int) -> Iterator[Network]:
    """Make some machines; everything that runs on them must have ended when the block ends."""
    if reason := _refusal():
        pytest.skip(reason)
    tag = secrets.token_hex(3)
    net = f"10.{64 + secrets.randbelow(128)}"
    network = Network(f"{net}.0.1", f"{net}.1.1")
    bridges = {f"ag{tag}f": network.front, f"ag{tag}b": network.back}
    try:
        for bridge, address in bridges.items():
            _ip("link", "add", bridge, "type", "bridge")
            _ip("address", "add", f"{address}/24", "dev", bridge)
            _ip("link", "set", bridge, "up")
        for number in range(count):
            network.machines.append(_machine(tag, number, bridges))
        yield network
    finally:
        for one in network.machines:
            _ip("netns", "delete", one.name)
        for bridge in bridges:
            subprocess.run(["ip", "link", "delete", bridge], capture_output=True, check=False)


def _machine(tag: str, number: int, bridges: dict[str, str]) -> Machine:
    """Make a namespace with a wire to each bridge."""
    name = f"aegis-{tag}-{number}"
    front, back = bridges
    one = Machine(name, f"{_prefix_of(bridges[front])}.{number + 10}", f"ag{tag}{number}b", back)
    _ip("netns", "add", name)
    _ip("-n", name, "link", "set", "lo", "up")
    for bridge, letter in ((front, "f"), (back, "b")):
        wire = f"ag{tag}{number}{letter}"
        _ip("link", "add", wire, "type", "veth", "peer", "name", f"to{letter}", "netns", name)
        _ip("link", "set", wire, "master", bridge, "up")
        address = f"{_prefix_of(bridges[bridge])}.{number + 10}/24"
        _ip("-n", name, "address", "add", address, "dev", f"to{letter}")
        _ip("-n", name, "link", "set", f"to{letter}", "up")
    return one


def _prefix_of(address: str) -> str:
    return address.rpartition(".")[0]


def _range_of(address: str) -> str:
    return f"{_prefix_of(address)}.0/24"


def _refusal() -> str | None:
    """Return why machines cannot be made here; None if they can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    name = f"aegis-probe-{secrets.token_hex(3)}"
    try:
        _ip("netns", "add", name)
        _ip("netns", "delete", name)
    except (OSError, AssertionError) as error:
        return f"network namespaces cannot be made here: {error}"
    return None


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr.strip()}"
