"""aria2 and Transmission, where they are installed: metadata in each way that they take."""

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest
import trio

from dht.contact import Endpoint, endpoint
from magnet.demo import make_torrent
from magnet.errors import PeerDisconnected
from magnet.metainfo.info import parse_info
from magnet.metainfo.torrent import build_torrent
from magnet.peer.encryption.cipher import CryptoMethod
from magnet.peer.fetch import fetch_metadata, prepare_fetch
from magnet.peer.metadata_pool import MetadataPool
from magnet.transport.carrier import Transport
from magnet.transport.dial import Dialer, DialPolicy, EncryptionPolicy
from magnet.transport.tcp import TcpCarrier

pytestmark = [pytest.mark.interop, pytest.mark.slow]

HOST = "127.0.0.1"
PATIENCE_S = 15.0

RAW_INFO = make_torrent()
KEY = parse_info(RAW_INFO).info_hash
assert KEY is not None

IF_NEEDED = DialPolicy()
REQUIRED = DialPolicy(EncryptionPolicy.REQUIRED)
RC4 = DialPolicy(EncryptionPolicy.REQUIRED, CryptoMethod.RC4)


@contextmanager
def running(command: Sequence[str]) -> Iterator[None]:
    """Run a client of which nobody but us knows."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def torrent(tmp_path: Path) -> Path:
    """A .torrent; of the content there is nothing, which does not keep anybody from sharing it."""
    path = tmp_path / "demonstration.torrent"
    path.write_bytes(build_torrent(RAW_INFO))
    return path


@pytest.fixture
def at() -> Endpoint:
    """Where the client is to listen."""
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        return endpoint(HOST, sock.getsockname()[1])


async def fetch(at: Endpoint, policy: DialPolicy) -> str:
    """Fetch the metadata as soon as the client is ready, and return by which way."""
    dialer = Dialer({Transport.TCP: TcpCarrier()}, policy=policy, rng=Random(1))
    pool = MetadataPool(info_hash=KEY)
    assert KEY is not None
    with trio.fail_after(PATIENCE_S):
        while True:
            connection = prepare_fetch(at, info_hash=KEY, rng=Random(2))
            try:
                dialled = await dialer.connect(at, KEY, connection.data_to_send())
            except PeerDisconnected:
                await trio.sleep(0.5)  # It has not begun to listen, or not read the torrent.
                continue
            await fetch_metadata(dialled.stream, connection, pool, at)
            assert pool.metadata == RAW_INFO
            return str(dialled)


@pytest.mark.parametrize(
    ("options", "policy", "way"),
    [
        ([], IF_NEEDED, "TCP"),
        ([], REQUIRED, "TCP, encrypted handshake"),
        ([], RC4, "TCP, encrypted"),
        (["--bt-require-crypto=true"], REQUIRED, "TCP, encrypted handshake"),
        (["--bt-require-crypto=true", "--bt-min-crypto-level=arc4"], REQUIRED, "TCP, encrypted"),
    ],
)
async def test_aria2(
    torrent: Path, at: Endpoint, options: list[str], policy: DialPolicy, way: str
) -> None:
    quiet = ["--enable-dht=false", "--enable-dht6=false", "--bt-enable-lpd=false"]
    port = int.from_bytes(at[-2:])
    command = ["aria2c", *quiet, *options, f"--listen-port={port}", f"--interface={HOST}"]
    with running([*command, f"--dir={torrent.parent}", str(torrent)]):
        assert await fetch(at, policy) == way


@pytest.mark.parametrize(
    ("mode", "policy", "way"),
    [
        (0, IF_NEEDED, "TCP"),
        (0, REQUIRED, "TCP, encrypted handshake"),
        (1, REQUIRED, "TCP, encrypted"),
        (2, REQUIRED, "TCP, encrypted"),
    ],
    ids=["tolerated", "tolerated and required", "preferred", "required"],
)
async def test_transmission(
    torrent: Path, at: Endpoint, mode: int, policy: DialPolicy, way: str
) -> None:
    settings = {
        "encryption": mode,
        "dht-enabled": False,
        "lpd-enabled": False,
        "pex-enabled": False,
        "utp-enabled": False,
        "port-forwarding-enabled": False,
        "rpc-enabled": False,
        "bind-address-ipv4": HOST,
        "bind-address-ipv6": "::1",
        "peer-port": int.from_bytes(at[-2:]),
        "download-dir": str(torrent.parent),
        "watch-dir": str(torrent.parent),
        "watch-dir-enabled": True,
    }
    folder = torrent.parent / "transmission"
    folder.mkdir()
    (folder / "settings.json").write_text(json.dumps(settings))
    with running(["transmission-daemon", "--foreground", "--config-dir", str(folder)]):
        assert await fetch(at, policy) == way
