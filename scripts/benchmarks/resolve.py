"""Links turned into metadata: our resolver beside libtorrent, on the same links and in one run.

Both begin cold, knowing one host of the DHT, and write nothing. Ours works on some links at a time;
libtorrent is asked in the way that suits it best: all links at once, each look-up forced as soon as
it has joined and again every second, without its usual limits on dialling. A link's time counts
from when it was begun to when its metadata was there; one that is not there in time counts as not
resolved.

    scripts/bench resolve HOST:PORT FILE [--at-once 50] [--timeout 60] [--only NAME]

FILE has one info-hash a line. What is bound is a loopback address, so HOST has to be one.
"""

import argparse
import os
import resource
import sys
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter
from typing import Final, NamedTuple, cast

import libtorrent as lt
import trio

from dht.bootstrap import BootstrapHost, parse_host
from dht.keyspace import InfoHash
from dht.node import NodeSettings, open_node
from dht.ratelimit import Budget
from magnet.errors import ResolveError
from magnet.resolve.resolver import Resolver, open_resolver
from magnet.uri import MagnetLink
from scripts.benchmarks.subjects import HOST, OURS, THEIRS

FORCE_S: Final = 1.0
"""Seconds between two forced look-ups of libtorrent, which by itself begins one every four: with
more and with fewer it takes longer."""

_WAIT_MS: Final = 20

_SETTINGS: Final = {
    "listen_interfaces": f"{HOST}:0",
    "alert_mask": lt.alert_category.status | lt.alert_category.dht,
    "alert_queue_size": 100_000,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "enable_outgoing_utp": False,
    "enable_incoming_utp": False,
    "dht_restrict_routing_ips": False,
    "dht_restrict_search_ips": False,
    "dht_ignore_dark_internet": False,
    "dht_enforce_node_id": False,
    "dht_prefer_verified_node_ids": False,
    "dht_upload_rate_limit": 2_000_000_000,
    "allow_multiple_connections_per_ip": True,
    "connection_speed": 500,
    "connections_limit": 10_000,
    "torrent_connect_boost": 100,
}
"""Nothing beyond this machine, many peers in one network, and no limit in the way."""


class Result(NamedTuple):
    """What one subject did.

    Attributes:
        times: Seconds for each link that was resolved.
        links: How many links there were.
        batch_s: Seconds for all of them.
        cpu_s: CPU seconds used.
    """

    times: list[float]
    links: int
    batch_s: float
    cpu_s: float

    @property
    def median_s(self) -> float:
        """Seconds for the link in the middle."""
        return median(self.times) if self.times else float("inf")

    @property
    def p95_s(self) -> float:
        """Seconds within which 95 of 100 resolved links were."""
        return quantiles(self.times, n=20)[-1] if len(self.times) > 1 else self.median_s

    def __str__(self) -> str:
        """Return the figures."""
        return (
            f"{len(self.times):5} of {self.links} resolved, median {self.median_s:6.2f} s, "
            f"p95 {self.p95_s:6.2f} s, batch {self.batch_s:6.1f} s "
            f"({len(self.times) / self.batch_s:5.1f}/s), {self.cpu_s:5.1f} CPU-s"
        )


async def resolve_ours(
    host: BootstrapHost, hashes: list[InfoHash], at_once: int, timeout_s: float
) -> list[float]:
    """Resolve with a resolver of ours; return the times."""
    settings = NodeSettings(
        bind=[(HOST, 0)], bootstrap=[host], budget=Budget.SERVER, read_only=True
    )
    times: list[float] = []
    waiting = iter(hashes)

    async def work(resolver: Resolver) -> None:
        for info_hash in waiting:
            began = perf_counter()
            try:
                await resolver.resolve(MagnetLink(info_hash=info_hash), timeout_s=timeout_s)
                times.append(perf_counter() - began)
            except ResolveError:
                continue  # It is missed in the count.

    async with (
        open_node(settings) as node,
        open_resolver(node) as resolver,
        trio.open_nursery() as nursery,
    ):
        for _ in range(at_once):
            nursery.start_soon(work, resolver)
    return times


def resolve_theirs(host: BootstrapHost, hashes: list[InfoHash], timeout_s: float) -> list[float]:
    """Resolve with a session of libtorrent; return the times."""
    settings = {**_SETTINGS, "dht_bootstrap_nodes": str(host)}
    session = lt.session(cast("lt.settings_pack", settings))
    began = perf_counter()
    handles = {it: session.add_torrent(_parameters(it)) for it in hashes}
    times: list[float] = []
    forced_at = began
    while handles and perf_counter() - began < timeout_s:
        session.wait_for_alert(_WAIT_MS)
        for alert in session.pop_alerts():
            if isinstance(alert, lt.dht_bootstrap_alert):
                forced_at = perf_counter()  # Look-ups begun before found nobody to ask.
            if isinstance(alert, lt.metadata_received_alert):
                times.append(perf_counter() - began)
                handles.pop(InfoHash(alert.handle.info_hash().to_bytes()), None)
                session.remove_torrent(alert.handle)
        if perf_counter() >= forced_at:
            forced_at = perf_counter() + FORCE_S
            for handle in handles.values():
                handle.force_dht_announce()
    return times


def _parameters(info_hash: InfoHash) -> lt.add_torrent_params:
    parameters = lt.add_torrent_params()
    parameters.info_hashes = lt.info_hash_t(lt.sha1_hash(info_hash))
    parameters.save_path = os.devnull
    parameters.flags |= lt.torrent_flags.default_dont_download
    parameters.flags &= ~(lt.torrent_flags.paused | lt.torrent_flags.auto_managed)
    return parameters


def measure(
    name: str, host: BootstrapHost, hashes: list[InfoHash], at_once: int, timeout_s: float
) -> Result:
    """Let one subject resolve all links, and print how it went."""
    began, cpu_s = perf_counter(), _cpu_s()
    if name == OURS:
        times = trio.run(resolve_ours, host, hashes, at_once, timeout_s)
    else:
        times = resolve_theirs(host, hashes, timeout_s)
    result = Result(times, len(hashes), perf_counter() - began, _cpu_s() - cpu_s)
    print(f"{name:11}: {result}", flush=True)
    return result


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main(arguments: list[str]) -> None:
    """Measure both, or one of them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("host", type=parse_host, help="of the DHT to begin with")
    parser.add_argument("file", type=Path, help="with an info-hash a line")
    parser.add_argument("--at-once", type=int, default=50, help="links of ours (%(default)s)")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds (%(default)s)")
    parser.add_argument("--only", choices=[OURS, THEIRS], help="one subject")
    options = parser.parse_args(arguments)
    hashes = [InfoHash(bytes.fromhex(it)) for it in options.file.read_text().split()]
    print(f"load of the machine before: {os.getloadavg()[0]:.2f}", flush=True)
    ours, theirs = (
        measure(name, options.host, hashes, options.at_once, options.timeout)
        if options.only in (None, name)
        else None
        for name in (OURS, THEIRS)
    )
    if ours is not None and theirs is not None and theirs.times:
        print(
            f"== ours of libtorrent's: median {ours.median_s / theirs.median_s:.2f}, "
            f"p95 {ours.p95_s / theirs.p95_s:.2f}, batch {ours.batch_s / theirs.batch_s:.2f}, "
            f"resolved {len(ours.times)} to {len(theirs.times)}",
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1:])
