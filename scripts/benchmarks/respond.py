"""Answered queries per CPU-second: our node beside a libtorrent session, under the same load in the same run.

Each subject is a process of its own, pinned to one core, that has joined the same test network. A load generator on the other core keeps a fixed
number of queries in flight for a while; the subject's CPU time is read from the system before and after. Rounds alternate, and the ratio is taken
round by round, so that a machine that slows down meanwhile slows both. Rate limits are out of the way for both.

    scripts/bench respond [--seconds 5] [--rounds 3] [--nodes 100]
"""

import argparse
import os
import random
import select
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import bencode2

IN_FLIGHT = 256
SUBJECTS = ("trackerless", "libtorrent")


class Measurement(NamedTuple):
    """What one round of one subject gave."""

    answers: int
    cpu_s: float
    nodes_per_answer: float

    @property
    def per_cpu_s(self) -> float:
        return self.answers / self.cpu_s


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--seconds", type=float, default=5.0)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--nodes", type=int, default=100)
    options = arguments.parse_args()
    measure(options.seconds, options.rounds, options.nodes)


def measure(seconds: float, rounds: int, nodes: int) -> None:
    with started("network", str(nodes)) as (_, entry_port):
        processes = {name: started(name, str(entry_port)) for name in SUBJECTS}
        with processes["trackerless"] as ours, processes["libtorrent"] as theirs:
            pin_generator()
            time.sleep(
                8.0
            )  # Both tables fill and settle; there is no event to wait for in the other process.
            ratios = []
            for number in range(1, rounds + 1):
                ours_now, theirs_now = run_round(ours, seconds), run_round(theirs, seconds)
                ratios.append(ours_now.per_cpu_s / theirs_now.per_cpu_s)
                report(number, ours_now, theirs_now, ratios[-1])
            print(
                f"find_node: ratio {statistics.median(ratios):.2f} of libtorrent's answers per CPU-second"
            )


def report(number: int, ours: Measurement, theirs: Measurement, ratio: float) -> None:
    for name, it in zip(SUBJECTS, (ours, theirs), strict=True):
        print(
            f"round {number} {name:11}: {it.answers:7} answers, {it.cpu_s:5.2f} CPU-s, "
            f"{it.per_cpu_s:7.0f} per CPU-s, {it.nodes_per_answer:.1f} nodes an answer"
        )
    print(f"round {number} ratio: {ratio:.2f}", flush=True)


def run_round(subject: tuple[int, int], seconds: float) -> Measurement:
    pid, port = subject
    before = cpu_seconds(pid)
    answers, nodes = load(port, seconds)
    return Measurement(answers, cpu_seconds(pid) - before, nodes / max(answers, 1))


def load(port: int, seconds: float) -> tuple[int, int]:
    """Keep `IN_FLIGHT` find_node queries at a node for a while; return answers and the nodes in them."""
    rng = random.Random(1)
    queries = [find_node_query(rng) for _ in range(20_000)]
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_194_304)
    sock.bind(("127.0.0.1", 0))
    sock.connect(("127.0.0.1", port))
    sock.setblocking(False)
    answers, nodes, sent = 0, 0, 0
    end = time.monotonic() + seconds
    in_flight = 0
    while time.monotonic() < end:
        while in_flight < IN_FLIGHT:
            sock.send(queries[sent % len(queries)])
            sent += 1
            in_flight += 1
        if not select.select([sock], [], [], 0.2)[0]:
            in_flight = 0  # Lost, or refused; start over.
            continue
        try:
            while True:
                answer = sock.recv(2_048)
                in_flight -= 1
                at = answer.find(b"5:nodes")
                if at >= 0:
                    answers += 1
                    nodes += int(answer[at + 7 : answer.index(b":", at + 7)]) // 26
        except BlockingIOError:
            pass
    sock.close()
    return answers, nodes


def find_node_query(rng: random.Random) -> bytes:
    return bencode2.bencode(
        {
            b"a": {b"id": b"benchmark-generator!", b"target": rng.randbytes(20)},
            b"q": b"find_node",
            b"ro": 1,
            b"t": rng.randbytes(2),
            b"y": b"q",
        }
    )


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def pin_generator() -> None:
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[-1]})


@contextmanager
def started(*what: str) -> Iterator[tuple[int, int]]:
    """Run this program again as a subject; give its process id and UDP port."""
    process = subprocess.Popen(
        [sys.executable, __file__, "--as", *what], stdout=subprocess.PIPE, stdin=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        yield process.pid, int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()


def be_subject(what: str, argument: str) -> None:
    if what != "network":
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    if what == "libtorrent":
        be_libtorrent(int(argument))
    else:
        be_ours(what, int(argument))


def be_libtorrent(entry_port: int) -> None:
    import libtorrent

    session = libtorrent.session(
        {
            "listen_interfaces": "127.0.0.1:0",
            "dht_bootstrap_nodes": f"127.0.0.1:{entry_port}",
            "enable_lsd": False,
            "enable_upnp": False,
            "enable_natpmp": False,
            "dht_restrict_routing_ips": False,
            "dht_restrict_search_ips": False,
            "dht_ignore_dark_internet": False,
            "dht_upload_rate_limit": 2_000_000_000,
            "dht_block_ratelimit": 1_000_000_000,
        }
    )
    while not session.is_dht_running():
        time.sleep(0.05)
    print(session.listen_port(), flush=True)
    sys.stdin.read()


def be_ours(what: str, argument: int) -> None:
    import trio

    from dht.bootstrap import BootstrapHost
    from dht.contact import Family, port_of
    from dht.node import NodeSettings, open_node
    from dht.ratelimit import Budget
    from dht.testnet import open_testnet

    async def network() -> None:
        async with open_testnet(argument) as net:
            print(port_of(net.nodes[0].endpoints[Family.IPV4]), flush=True)
            await trio.sleep_forever()

    async def node() -> None:
        settings = NodeSettings(
            bind=[("127.0.0.1", 0)],
            bootstrap=[BootstrapHost("127.0.0.1", argument, is_router=False)],
            budget=Budget.SERVER,
            limit_sources=False,
        )
        async with open_node(settings) as it:
            await it.wait_joined()
            print(port_of(it.endpoints[Family.IPV4]), flush=True)
            await trio.sleep_forever()

    trio.run(network if what == "network" else node)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--as"]:
        be_subject(*sys.argv[2:])
    else:
        main()
