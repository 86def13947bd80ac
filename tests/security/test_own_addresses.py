"""Row 67 of the attack table: this host's own public addresses are guarded like loopback."""

import json
import subprocess
import sys
from ipaddress import ip_address

import pytest

from aegis_stream.netguard import NetGuard, parse_networks
from aegis_stream.sender import is_own_address
from aegis_stream.wiring.outbound import make_guard
from support.settings import make_settings

OWN = ("8.8.4.4", "2606:4700::1111", "9.9.9.7")
"""Public addresses that the namespace below has: on an interface, IPv6, and by a local route for a whole network."""
OTHERS = ("8.8.4.5", "2606:4700::1112", "9.9.8.7")

INSIDE = """
import json, subprocess, sys
from aegis_stream.netguard import parse_networks
from aegis_stream.wiring.outbound import make_guard
from support.settings import make_settings
for command in (
    "ip link set lo up", "ip addr add 8.8.4.4/32 dev lo", "ip addr add 2606:4700::1111/128 dev lo",
    "ip route add local 9.9.9.0/24 dev lo", "ip route add default dev lo", "ip -6 route add default dev lo",
):
    subprocess.run(command.split(), check=False, capture_output=True)
guard = make_guard(make_settings())
late = guard.check("8.8.4.6")
subprocess.run("ip addr add 8.8.4.6/32 dev lo".split(), check=True)
spelled = [guard.check(one) for one in ("::ffff:8.8.4.4", "64:ff9b::808:404")]
allowed = make_guard(make_settings(allowed_networks=parse_networks("8.8.4.4/32,2606:4700::/32,9.9.9.0/24")))
print(json.dumps({
    "checked": [guard.check(one) for one in sys.argv[1:]], "late": [late, guard.check("8.8.4.6")],
    "spelled": spelled, "allowed": [allowed.check(one) for one in sys.argv[1:]],
}))
"""


def in_a_namespace() -> dict:
    """Run the guard in a network namespace of its own, whose host has public addresses."""
    command = ["unshare", "--user", "--map-root-user", "--net"]
    if subprocess.run([*command, "true"], check=False, capture_output=True).returncode:
        command = ["unshare", "--net"]
    if subprocess.run([*command, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine allows no network namespaces")
    ran = subprocess.run(
        [*command, sys.executable, "-c", INSIDE, *OWN, *OTHERS], check=True, capture_output=True, cwd="tests"
    )
    return json.loads(ran.stdout)


def test_own_public_addresses_are_forbidden():
    """An address that an interface or a local route of this host has is forbidden from the moment it has it, in every spelling."""
    found = in_a_namespace()

    own, others = found["checked"][: len(OWN)], found["checked"][len(OWN) :]
    assert all(one is not None and one.startswith("points to this host itself") for one in own), own
    assert others == [None] * len(OTHERS)
    assert found["late"][0] is None
    assert found["late"][1] is not None
    assert all(found["spelled"])


def test_an_operator_can_allow_them():
    """A receiver on the same host is allowed by its network, as on loopback."""
    assert in_a_namespace()["allowed"] == [None] * (len(OWN) + len(OTHERS))


def test_addresses_behind_nat_are_named_by_the_operator():
    """Addresses that no interface has are forbidden once they are listed, and can be allowed again."""
    guard = make_guard(make_settings(own_addresses=parse_networks("8.8.4.0/24,2606:4700::/32")))

    for address in ("8.8.4.9", "2606:4700::5", "64:ff9b::808:409"):
        assert "this host itself" in (guard.check(address) or "")
    assert guard.check("8.8.5.9") is None
    assert NetGuard(parse_networks("8.8.4.0/24"), guard.own_networks).check("8.8.4.9") is None


@pytest.mark.parametrize(
    ("address", "own"),
    [("127.0.0.1", True), ("192.0.2.1", False), ("2001:db8::1", False), ("0.0.0.0", False)],
)
def test_the_kernel_knows(address, own):
    """An address is own if a connection to it would end here; one without a route is not."""
    assert is_own_address(ip_address(address)) is own
