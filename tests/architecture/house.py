"""What this house allows: the data that `rules` applies. A new module is pure, or is named here.

A name stands for itself and for everything inside it: "magnet.web" covers "magnet.web.app".
"""

from typing import Final

WINGS: Final = ("dht", "magnet")

SHELLS: Final = frozenset(
    {
        "dht.logs",
        "dht.background",
        "dht.udp",
        "dht.bootstrap",
        "dht.memory",
        "dht.driver",
        "dht.joint",
        "dht.node",
        "dht.publishing",
        "dht.sampler",
        "dht.testnet",
        "dht.commandline",
        "dht.crawl.sweep",
        "dht.measure.census",
        "dht.measure.survey",
        "dht.cli",
        "dht.doctor",
        "dht.mapping.exchange",
        "dht.mapping.gateway",
        "dht.mapping.keeper",
        "dht.mapping.unicast",
        "dht.mapping.upnp",
        "magnet.peer.stream",
        "magnet.peer.fetch",
        "magnet.peer.introductions",
        "magnet.peer.fetch_layers",
        "magnet.resolve.output",
        "magnet.transport.carrier",
        "magnet.transport.dial",
        "magnet.transport.early",
        "magnet.transport.encrypted",
        "magnet.transport.race",
        "magnet.transport.socks.proxy",
        "magnet.transport.socks.relay",
        "magnet.transport.stages",
        "magnet.transport.tcp",
        "magnet.transport.utp.socket",
        "magnet.transport.utp.stream",
        "magnet.transport.ways",
        "magnet.sources.dht",
        "magnet.sources.link",
        "magnet.sources.usual",
        "magnet.sources.lsd.source",
        "magnet.sources.lsd.multicast",
        "magnet.sources.exact",
        "magnet.sources.hostnames",
        "magnet.sources.http_client",
        "magnet.sources.named",
        "magnet.sources.named_peers",
        "magnet.sources.trackers.lines",
        "magnet.sources.trackers.pool",
        "magnet.sources.trackers.station",
        "magnet.sources.trackers.source",
        "magnet.sources.trackers.udp_client",
        "magnet.sources.updatable",
        "magnet.resolve.admission",
        "magnet.resolve.batch",
        "magnet.resolve.giving",
        "magnet.resolve.resolution",
        "magnet.resolve.resolver",
        "magnet.resolve.store",
        "magnet.resolve.worker",
        "magnet.download.disk",
        "magnet.download.session",
        "magnet.publish.feed",
        "magnet.web",
        "magnet.seeder",
        "magnet.demo",
        "magnet.config",
        "magnet.cli",
    }
)
"""The modules that touch the world: sockets, clocks, files, terminals. They decide nothing."""

IMPURE: Final = frozenset(
    {
        "asyncio",
        "ctypes",
        "logging",
        "multiprocessing",
        "os",
        "pathlib",
        "secrets",
        "select",
        "selectors",
        "shutil",
        "signal",
        "socket",
        "sqlite3",
        "ssl",
        "subprocess",
        "sys",
        "tempfile",
        "threading",
        "time",
    }
)
"""Standard modules that reach outside. A pure module is given bytes, `now` and `rng` instead."""

IMPURE_CALLS: Final = frozenset({"input", "open", "print"})

ENTRANCES: Final[dict[str, frozenset[str]]] = {
    "apsw": frozenset({"magnet.resolve.store"}),
    "bencode2": frozenset({"dht.bencode"}),
    "bencodepy": frozenset({"dht.bencode"}),
    "crc32c": frozenset({"dht.keyspace"}),
    "cryptography": frozenset({"dht.items", "magnet.peer.encryption"}),
    "cyclopts": frozenset({"dht.commandline", "dht.cli", "magnet.cli"}),
    "httpx": frozenset({"magnet.sources.http_client"}),
    "miniupnpc": frozenset({"dht.mapping.upnp"}),
    "platformdirs": frozenset({"dht.commandline"}),
    "rich": frozenset({"dht.commandline", "dht.cli", "magnet.cli", "magnet.demo"}),
    "structlog": frozenset({"dht.logs", "dht.commandline"}),
    "trio": SHELLS,
}
"""Each third-party package, and the modules through which it may enter."""

MAGNET_MAY_USE: Final = frozenset(
    {
        "dht.background",
        "dht.bencode",
        "dht.contact",
        "dht.crawl",
        "dht.diagnosis",
        "dht.doctor",
        "dht.errors",
        "dht.items",
        "dht.keyspace",
        "dht.measure",
        "dht.node",
        "dht.commandline",  # both commands take the same options
        "dht.logs",
        "dht.publishing",  # links that name a public key
        "dht.ratelimit",  # one budget for datagrams and dials
        "dht.testnet",  # the demo runs on one
        "dht.udp",
    }
)
"""What the upper wing sees of the lower: values and shells, never the machines of the engine."""

MODULE_LINES_MAX: Final = 500
FUNCTION_LINES_MAX: Final = 70

EMPTY_NAMES: Final = frozenset({"util", "utils", "helper", "helpers", "common", "misc", "manager"})
"""Names that say nothing of what is inside."""

TOP_LEVEL: Final = frozenset(
    {"LICENSE", "README.md", "dht", "magnet", "pyproject.toml", "scripts", "tests"}
)
"""What may stand at the top of the repository, besides names that begin with a dot."""
