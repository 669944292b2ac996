"""The processes that a benchmark measures: a network of ours, one node of ours, libtorrent.

Each joins the network it is given and says on its standard output at which port it listens; it ends
when its standard input does.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from threading import Event
from typing import Final, NamedTuple, cast

import libtorrent
import trio

from dht.bootstrap import BootstrapHost
from dht.contact import Family, port_of
from dht.node import NodeSettings, open_node
from dht.ratelimit import Budget

HOST: Final = "127.0.0.1"

NETWORK: Final = "network"
OURS: Final = "trackerless"
THEIRS: Final = "libtorrent"

SETTLING_S: Final = 5.0
"""Real seconds that a subject gets to fill its table before it is measured."""

_WAIT_MS: Final = 100

_UNLIMITED: Final = {
    "dht_upload_rate_limit": 2_000_000_000,
    "dht_block_ratelimit": 1_000_000_000,
    "dht_max_peers": 5_000,
    "dht_max_torrents": 5_000,
}
"""Rate limits out of the way, as in our node."""

_ALONE: Final = {
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "dht_restrict_routing_ips": False,
    "dht_restrict_search_ips": False,
    "dht_ignore_dark_internet": False,
}
"""Nothing beyond this machine, and many nodes at one address are fine."""


class Subject(NamedTuple):
    """A running process.

    Attributes:
        pid: Its process id.
        port: Its UDP port on loopback.
    """

    pid: int
    port: int

    @property
    def cpu_s(self) -> float:
        """CPU seconds used since it started, in the kernel too; to a hundredth."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def resident_bytes(self) -> int:
        """Memory in use."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf(
            "SC_PAGESIZE"
        )


@contextmanager
def started(kind: str, number: int) -> Iterator[Subject]:
    """Run a subject for the time of the block.

    Args:
        kind: `NETWORK`, `OURS` or `THEIRS`.
        number: How many nodes the network has, or the port of the node to join through.
    """
    command = [sys.executable, "-P", "-m", __spec__.name, kind, str(number)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield Subject(process.pid, int(process.stdout.readline()))
        finally:
            process.kill()


def pin_to_core(index: int) -> None:
    """Stay on the first (0) or the last (-1) of the cores there are, with all threads to come."""
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[index]})


def be_libtorrent(entry_port: int) -> None:
    """Be a libtorrent session."""
    settings = {
        "listen_interfaces": f"{HOST}:0",
        "dht_bootstrap_nodes": f"{HOST}:{entry_port}",
        "alert_mask": libtorrent.alert_category.dht,
        **_ALONE,
        **_UNLIMITED,
    }
    session = libtorrent.session(cast("libtorrent.settings_pack", settings))
    while not _has_joined(session):
        session.wait_for_alert(_WAIT_MS)
    Event().wait(SETTLING_S)
    print(session.listen_port(), flush=True)
    sys.stdin.read()


def _has_joined(session: libtorrent.session) -> bool:
    return any(isinstance(it, libtorrent.dht_bootstrap_alert) for it in session.pop_alerts())


async def be_network(nodes: int) -> None:
    """Be a network whose nodes answer all they are asked, whoever asks."""
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(open_node(_settings([])))
        port = port_of(first.endpoints[Family.IPV4])
        for number in range(1, nodes):
            # An address each, as in the wild; what shares one is looked at more closely.
            host = f"127.0.{1 + number // 250}.{1 + number % 250}"
            node = await stack.enter_async_context(open_node(_settings([port], host)))
            await node.wait_joined()
        print(port, flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)


async def be_node(entry_port: int) -> None:
    """Be a node of ours."""
    async with open_node(_settings([entry_port])) as node:
        await node.wait_joined()
        await trio.sleep(SETTLING_S)
        print(port_of(node.endpoints[Family.IPV4]), flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)


def _settings(entry_ports: Sequence[int], host: str = HOST) -> NodeSettings:
    return NodeSettings(
        bind=[(host, 0)],
        bootstrap=[BootstrapHost(HOST, it, is_router=False) for it in entry_ports],
        budget=Budget.SERVER,
        limit_sources=False,
    )


def main(kind: str, number: str) -> None:
    """Be what was asked for."""
    if kind != NETWORK:
        pin_to_core(0)
    if kind == THEIRS:
        be_libtorrent(int(number))
    else:
        trio.run(be_node if kind == OURS else be_network, int(number))


if __name__ == "__main__":
    main(*sys.argv[1:])
