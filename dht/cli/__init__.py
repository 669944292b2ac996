"""The `dht` command: run a node, ask others, and start test networks.

Only `node`, `put --keep` and the nodes of `testnet` answer queries; the others come and go, so they
are read-only and leave no trace in the tables of the network.

Spec: BEP 5 "DHT Queries"; BEP 43 (read-only nodes).
"""

from dht.cli.app import app
from dht.cli.arguments import parse_id, parse_info_hash
from dht.cli.asking import announce, find_node, peers, ping
from dht.cli.doctor import doctor
from dht.cli.items import get, put
from dht.cli.running import run_node, run_testnet
from dht.cli.sampling import sample
from dht.cli.scraping import scrape_swarms
from dht.cli.size import size
from dht.commandline import run

__all__ = [
    "announce",
    "app",
    "doctor",
    "find_node",
    "get",
    "main",
    "parse_id",
    "parse_info_hash",
    "peers",
    "ping",
    "put",
    "run_node",
    "run_testnet",
    "sample",
    "scrape_swarms",
    "size",
]


def main() -> int:
    """Run the `dht` command and return the exit code of the process."""
    return run(app)
