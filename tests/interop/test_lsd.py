"""Local discovery with libtorrent, in a network that consists of one pair of virtual interfaces.

Multicast must not leave this machine, so each test runs in a network namespace of its own.
"""

import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Final

import pytest

pytestmark = [pytest.mark.interop, pytest.mark.slow]

ROOT: Final = Path(__file__).parents[2]

HOSTS: Final = {"IPv4": "10.9.0.1", "IPv6": "fd00::1"}

NETWORK: Final = """
    ip link set lo up &&
    ip link add here type veth peer name there &&
    echo 1 > /proc/sys/net/ipv6/conf/there/disable_ipv6 &&
    ip link set here up && ip link set there up &&
    ip addr add 10.9.0.1/24 dev here && ip addr add fd00::1/64 dev here nodad &&
    exec "$@"
"""
"""Only one end speaks IPv6: libtorrent names no interface there, and might take the other."""


def in_a_network(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a command where there are two interfaces that lead to each other, and no other."""
    return subprocess.run(
        ["unshare", "-rn", "sh", "-c", NETWORK, "sh", *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@cache
def obstacle() -> str | None:
    """Return why there can be no such network; None if there can."""
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return "unshare or ip is not installed"
    tried = in_a_network("true")
    return f"no network namespaces: {tried.stderr.strip()}" if tried.returncode else None


@pytest.mark.parametrize("host", HOSTS.values(), ids=HOSTS.keys())
@pytest.mark.parametrize("scene", ["we_find_libtorrent", "libtorrent_finds_us"])
def test_neighbours_find_each_other(scene: str, host: str) -> None:
    if (reason := obstacle()) is not None:
        pytest.skip(reason)
    run = in_a_network(sys.executable, "-m", "tests.interop.neighbours", scene, host)
    assert run.returncode == 0, run.stderr
