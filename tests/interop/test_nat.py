"""Behind real routers, in network namespaces: what the doctor finds, and what is mapped.

The router is the kernel's NAT, and `miniupnpd`, which many routers run, maps ports.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.interop.laboratory import MASQUERADE, NO_SERVICE, RANDOM, missing_tool, run_at_home

LACK = missing_tool()
LACK_MINIUPNPD = missing_tool("miniupnpd")

pytestmark = [
    pytest.mark.interop,
    pytest.mark.slow,
    pytest.mark.skipif(LACK is not None, reason=f"a laboratory needs {LACK}"),
]

needs_miniupnpd = pytest.mark.skipif(
    LACK_MINIUPNPD is not None, reason=f"this router needs {LACK_MINIUPNPD}"
)

MAP = """
import sys, trio
from dht.contact import format_endpoint
from dht.errors import MappingFailed
from dht.mapping.lease import Transport, Wish
from dht.mapping.unicast import NatPmpMapper, PcpMapper
from dht.mapping.upnp import UpnpMapper

async def main():
    mapper = {"PCP": PcpMapper, "NAT-PMP": NatPmpMapper, "UPnP": UpnpMapper}[sys.argv[1]]()
    for wish in (Wish(Transport.UDP, 6881, 7000), Wish(Transport.TCP, 6881, 6881)):
        try:
            lease = await mapper.map(wish)
            assert await mapper.map(wish) == lease
            await mapper.unmap(lease)
        except MappingFailed as error:
            print(error)
        else:
            print(lease.transport.name, format_endpoint(lease.external), lease.lifetime_s)

trio.run(main)
"""


def miniupnpd(folder: Path, **settings: str) -> str:
    """Return a command that runs the router's service."""
    config = folder / "miniupnpd.conf"
    chosen = {"enable_natpmp": "yes", "enable_upnp": "yes", **settings}
    lines = ["ext_ifname=wan0", "listening_ip=lan1", "secure_mode=yes"]
    lines += [f"{name}={value}" for name, value in chosen.items()]
    lines += ["allow 1024-65535 192.168.1.0/24 1024-65535", "deny 0-65535 0.0.0.0/0 0-65535"]
    config.write_text("\n".join(lines) + "\n")
    return f"exec miniupnpd -d -f {config} -P /run/miniupnpd.pid > {folder}/log 2>&1"


def map_at_home(method: str, service: str) -> list[str]:
    """Map two ports with one method, a moment after the router has started."""
    result = run_at_home(
        f"sleep 0.3; exec python -c '{MAP}' {method}", service=service, world=(0, 0)
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def examine(*, timeout_s: float = 2.0, **laboratory: Any) -> dict[tuple[str, str | None], Any]:
    """Let the doctor look from home; return its findings by check and family."""
    command = f"sleep 0.3; exec dht doctor --json --bootstrap 45.0.0.1:6881 --timeout {timeout_s}"
    result = run_at_home(command, **laboratory)
    *findings, last = map(json.loads, result.stdout.splitlines())
    assert result.returncode == (0 if last["healthy"] else 1), result.stderr
    return {(it["check"], it["family"]): it for it in findings}


METHODS = ["PCP", "NAT-PMP", "UPnP"]


def test_a_router_that_maps_nothing_maps_nothing() -> None:
    assert map_at_home("PCP", NO_SERVICE) == ["Connection refused"] * 2


@needs_miniupnpd
@pytest.mark.parametrize("method", METHODS)
def test_a_port_is_mapped_renewed_and_given_back(method: str, tmp_path: Path) -> None:
    said = map_at_home(method, miniupnpd(tmp_path))
    assert said == ["UDP 45.9.0.2:7000 7200", "TCP 45.9.0.2:6881 7200"]


def test_a_nat_that_keeps_the_port_is_good_enough() -> None:
    found = examine(nat=MASQUERADE)
    assert found["udp-out", "ipv4"]["verdict"] == "ok"
    assert found["udp-out", "ipv6"]["verdict"] == "warning"
    assert found["nat", "ipv4"]["verdict"] == "ok"
    assert found["nat", "ipv4"]["facts"]["ports"] == 1
    assert found["nat", "ipv4"]["facts"]["external"].startswith("45.9.0.2:")
    assert found["udp-in", "ipv4"]["verdict"] == "unknown"
    assert found["port-mapping", "ipv4"]["verdict"] in ("warning", "unknown")


def test_a_nat_with_a_port_for_each_host_is_told() -> None:
    found = examine(nat=RANDOM)
    assert found["nat", "ipv4"]["verdict"] == "warning"
    assert found["nat", "ipv4"]["facts"]["ports"] > 4


@needs_miniupnpd
def test_through_a_mapped_port_strangers_come_in(tmp_path: Path) -> None:
    found = examine(service=miniupnpd(tmp_path), world=(12, 6), timeout_s=20.0)
    assert found["port-mapping", "ipv4"]["facts"]["method"] == "PCP"
    assert found["udp-in", "ipv4"]["verdict"] == "ok"
    assert "mapping removed" in (tmp_path / "log").read_text()


def test_without_one_they_do_not() -> None:
    found = examine(world=(12, 6), timeout_s=4.0)
    assert found["udp-in", "ipv4"]["facts"]["uninvited_queries"] == 0
