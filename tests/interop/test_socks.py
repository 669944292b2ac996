"""asyncio-socks-server on loopback, open and with a password, between us and everybody else."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from random import Random

import pytest
import trio
import trio.testing

from dht.background import open_background
from dht.contact import Family, Scope, endpoint, host_of
from dht.node import NodeSettings, open_node
from dht.testnet import Testnet, open_testnet
from dht.udp import Datagram, UdpSocket
from magnet.errors import PeerDisconnected, ProxyError
from magnet.hosts import HostPort
from magnet.metainfo.info import Version
from magnet.metainfo.torrent import parse_torrent
from magnet.resolve.report import Report
from magnet.resolve.resolver import open_resolver
from magnet.transport.socks.address import parse_proxy
from magnet.transport.socks.messages import Credentials
from magnet.transport.socks.proxy import SocksProxy
from magnet.transport.ways import open_dialer
from magnet.uri import format_magnet
from tests.interop.seeding import seeded

pytestmark = pytest.mark.interop

MakeTorrent = Callable[[Version], bytes]

HOST = "127.0.0.1"
PATIENCE_S = 10.0
MAGNET = Path(sys.executable).with_name("magnet")
US = Credentials("somebody", "secret")


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        return int(sock.getsockname()[1])


def wait_listening(port: int) -> None:
    until = time.perf_counter() + PATIENCE_S
    while time.perf_counter() < until:
        with socket.socket() as sock:
            if sock.connect_ex((HOST, port)) == 0:
                return
        time.sleep(0.02)  # noqa: TID251 - before there is an event loop
    raise AssertionError("the SOCKS5 server does not listen")


@pytest.fixture(scope="module", params=[False, True], ids=["open", "with password"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the server is, and who we are to it."""
    if find_spec("asyncio_socks_server") is None:
        pytest.skip("asyncio-socks-server is not installed")
    port = free_port()
    settings = {
        "LISTEN_HOST": HOST,
        "LISTEN_PORT": port,
        "AUTH_METHOD": 2 if request.param else 0,
        "USERS": dict([US]),
    }
    path: Path = tmp_path_factory.mktemp("socks") / "config.json"
    path.write_text(json.dumps(settings))
    command = [sys.executable, "-m", "asyncio_socks_server", "--config", str(path)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_listening(port)
        us = f"{US.user}:{US.password}@" if request.param else ""
        yield f"socks5://{us}{HOST}:{port}"
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def proxy(url: str) -> SocksProxy:
    """The server."""
    return SocksProxy(*parse_proxy(url))


class Inbox:
    """Keeps what it is given; echoes if told so."""

    def __init__(self, echo: UdpSocket | None = None) -> None:
        self.received: list[Datagram] = []
        self.arrived = trio.Event()
        self._echo = echo

    def recognises(self, data: bytes) -> bool:
        return True

    def receive_batch(self, batch: Sequence[Datagram]) -> None:
        self.received += batch
        self.arrived.set()
        if self._echo is not None:
            self._echo.send(batch)


async def test_refused_peer_is_an_error(proxy: SocksProxy) -> None:
    """This server hangs up instead of telling why."""
    with pytest.raises((PeerDisconnected, ProxyError)):
        await proxy.connect(endpoint(HOST, free_port()))


@pytest.mark.parametrize("by_name", [False, True])
async def test_stream(proxy: SocksProxy, by_name: bool) -> None:
    (listener,) = await trio.open_tcp_listeners(0, host=HOST)
    port = listener.socket.getsockname()[1]
    to = HostPort("localhost", port) if by_name else endpoint(HOST, port)
    async with listener, await proxy.connect(to) as ours, await listener.accept() as theirs:
        await ours.send_all(b"to and")
        assert await theirs.receive_some() == b"to and"
        await theirs.send_all(b"fro")
        assert await ours.receive_some() == b"fro"


async def test_datagrams(proxy: SocksProxy) -> None:
    there = UdpSocket.bind(HOST)
    async with (
        proxy.open_relay(scope=Scope.LOOPBACK) as here,
        open_background() as background,
    ):
        theirs, ours = Inbox(echo=there), Inbox()
        background.start_soon(partial(there.serve, [theirs]))
        background.start_soon(partial(here.serve, [ours]))
        here.send([(b"d1:ae", there.endpoint)])
        with trio.fail_after(5):
            await theirs.arrived.wait()
            await ours.arrived.wait()
        ((data, source),) = theirs.received
        assert data == b"d1:ae"
        assert source != here.endpoint
        assert host_of(source) == HOST
        assert ours.received == [(b"d1:ae", there.endpoint)]
    there.close()


async def test_link_is_resolved(
    proxy: SocksProxy, make_torrent: MakeTorrent, content: Path
) -> None:
    """Searches of the DHT and connections to peers all go by way of the proxy."""
    original, report = make_torrent(Version.V1), Report()
    async with (
        open_testnet(8, [Family.IPV4]) as testnet,
        seeded(HOST, testnet, original, content) as link,
        proxy.open_relay(scope=Scope.LOOPBACK) as relay,
        open_node(settings_for(testnet), sockets=[relay]) as node,
        open_dialer(node, proxy=proxy, rng=Random(1)) as dialer,
        open_resolver(node, dialer=dialer) as resolver,
    ):
        resolved = await resolver.resolve(link, timeout_s=10, report=report)
        assert relay.statistics()["datagrams sent"] > 0
    assert resolved.raw_info == parse_torrent(original).raw_info
    assert {attempt.way for attempt in report.attempts if attempt.error is None} == {"TCP"}


def settings_for(testnet: Testnet) -> NodeSettings:
    return NodeSettings(bootstrap=testnet.entry_points(), read_only=True)


async def test_command_resolves_by_way_of_the_proxy(
    url: str, make_torrent: MakeTorrent, content: Path, tmp_path: Path
) -> None:
    async with (
        open_testnet(8, [Family.IPV4]) as testnet,
        seeded(HOST, testnet, make_torrent(Version.V1), content) as link,
    ):
        bootstrap = [f"--bootstrap={it}" for it in testnet.entry_points()]
        command = [str(MAGNET), "resolve", format_magnet(link), f"--proxy={url}", "--json"]
        with trio.fail_after(PATIENCE_S):
            ended = await trio.run_process(
                [*command, f"--output={tmp_path}", *bootstrap],
                capture_stdout=True,
                capture_stderr=True,
                check=False,
            )
    assert ended.returncode == 0, ended.stderr.decode()
    assert json.loads(ended.stdout)["status"] == "resolved"
    assert [path.suffix for path in tmp_path.iterdir()] == [".torrent"]
