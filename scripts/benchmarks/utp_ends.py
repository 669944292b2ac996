"""The other ends of `scripts/bench utp`: processes that take, give or fetch bytes over uTP.

Each says on its standard output at which port it listens, and ends when its standard input does.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha1
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Final, cast

import libtorrent
import trio

from dht.contact import Endpoint, Family, port_of
from dht.node import NodeSettings, open_node
from magnet.metainfo.create import create_file_info
from magnet.transport.utp.socket import open_utp
from scripts.benchmarks.subjects import HOST

TAKER: Final = "taker"
SEED: Final = "seed"
FETCHER: Final = "fetcher"

PIECE_BYTES: Final = 1_048_576
CONTENT_NAME: Final = "content.bin"

_TICK_MS: Final = 20

_SETTINGS: Final = {
    "listen_interfaces": f"{HOST}:0",
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "enable_incoming_tcp": False,
    "enable_outgoing_tcp": False,
    "in_enc_policy": 2,
    "out_enc_policy": 2,
    "allow_multiple_connections_per_ip": True,
    "max_out_request_queue": 2_000,
    "max_allowed_in_request_queue": 4_000,
    "send_buffer_watermark": 4 * 1_048_576,
    "send_buffer_watermark_factor": 200,
}
"""uTP in the clear and nothing else; and queues long enough not to be what is measured."""


class OtherEnd:
    """A running process.

    Attributes:
        port: Its UDP port on loopback.
    """

    def __init__(self, process: "Popen[str]") -> None:
        """Wait until it says where it listens."""
        self._process = process
        self.port = int(self.next_line())

    def next_line(self) -> str:
        """Wait for the next thing it says."""
        assert self._process.stdout is not None
        return self._process.stdout.readline()


@contextmanager
def other_end(kind: str, *arguments: object) -> Iterator[OtherEnd]:
    """Run another end for the time of the block."""
    command = [sys.executable, "-P", "-m", __spec__.name, kind, *map(str, arguments)]
    with Popen(command, stdin=PIPE, stdout=PIPE, text=True) as process:
        try:
            yield OtherEnd(process)
        finally:
            process.kill()


def raw_info(pieces: int) -> bytes:
    """Return the info dictionary of a file of so many pieces, all zeros."""
    return create_file_info(CONTENT_NAME, [bytes(PIECE_BYTES)] * pieces, PIECE_BYTES)


def be_seed(folder: str, pieces: str) -> None:
    """Be a libtorrent that has everything."""
    (Path(folder) / CONTENT_NAME).write_bytes(bytes(PIECE_BYTES) * int(pieces))
    session, _ = _join(folder, pieces, libtorrent.torrent_flags.seed_mode)
    print(session.listen_port(), flush=True)
    sys.stdin.read()


def be_fetcher(folder: str, pieces: str, port: str) -> None:
    """Be a libtorrent that has nothing, and gets it from us; say when it has all."""
    session, handle = _join(folder, pieces, libtorrent.torrent_flags.default_flags)
    print(session.listen_port(), flush=True)
    handle.connect_peer((HOST, int(port)))
    while not handle.status().is_seeding:
        session.wait_for_alert(_TICK_MS)
        session.pop_alerts()
    print("done", flush=True)
    sys.stdin.read()


async def be_taker() -> None:
    """Be one of ours that takes all it is sent, and says at the end how much it was."""

    async def take(stream: trio.abc.Stream, remote: Endpoint) -> None:
        size = 0
        while data := await stream.receive_some():
            size += len(data)
        await stream.send_all(size.to_bytes(8))

    settings = NodeSettings(bind=[(HOST, 0)], bootstrap=())
    async with open_node(settings) as node, open_utp(node) as utp:
        print(port_of(node.endpoints[Family.IPV4]), flush=True)
        await utp.serve(take)


def _join(
    folder: str, pieces: str, flags: int
) -> tuple[libtorrent.session, libtorrent.torrent_handle]:
    session = libtorrent.session(cast("libtorrent.settings_pack", dict(_SETTINGS)))
    info = raw_info(int(pieces))
    torrent = libtorrent.load_torrent_buffer(b"d4:info" + info + b"e")
    torrent.save_path = folder
    torrent.flags |= flags
    torrent.flags &= ~(libtorrent.torrent_flags.paused | libtorrent.torrent_flags.auto_managed)
    assert torrent.info_hashes.v1.to_bytes() == sha1(info).digest()
    return session, session.add_torrent(torrent)


def main(kind: str, *arguments: str) -> None:
    """Be what was asked for."""
    match kind:
        case "taker":
            trio.run(be_taker)
        case "seed":
            be_seed(*arguments)
        case "fetcher":
            be_fetcher(*arguments)


if __name__ == "__main__":
    main(*sys.argv[1:])
