"""Peers behind a firewall, reached with the help of a third; libtorrent is the third, or the peer.

The firewall is one of ours: it lets datagrams of uTP in only from where some went out to.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import libtorrent as lt
import pytest
import trio

from dht.background import open_background
from dht.contact import Endpoint, Family, Scope, format_endpoint, host_of, port_of
from dht.node import NodeSettings, open_node
from dht.udp import Datagram
from magnet.metainfo.info import Version
from magnet.metainfo.torrent import Torrent, parse_torrent
from magnet.peer.connection import PeerConnection
from magnet.peer.extension import LOCAL_IDS, UT_HOLEPUNCH, ExtensionHandshake
from magnet.peer.handshake import generate_peer_id
from magnet.peer.stream import PeerStream
from magnet.peer.ut_holepunch import Connect, Rendezvous, encode_holepunch_message
from magnet.resolve.report import Report
from magnet.resolve.resolver import open_resolver
from magnet.seeder import open_seeder
from magnet.transport.carrier import Transport
from magnet.transport.dial import Dialer
from magnet.transport.utp.socket import UtpSocket, open_utp
from magnet.uri import parse_magnet
from tests.interop.client import open_client, until

pytestmark = [pytest.mark.interop, pytest.mark.slow]

MakeTorrent = Callable[[Version], bytes]

UTP_ONLY = {"enable_outgoing_tcp": False, "enable_incoming_tcp": False, "enable_dht": False}


class Firewall:
    """Stands between a socket and the world."""

    def __init__(self, utp: UtpSocket, monkeypatch: pytest.MonkeyPatch) -> None:
        self.refused: set[Endpoint] = set()
        self._known: set[Endpoint] = set()
        self._receive, self._send = utp.receive_batch, utp._send
        monkeypatch.setattr(utp, "receive_batch", self.receive_batch)
        monkeypatch.setattr(utp, "_send", self.send)

    def receive_batch(self, batch: Sequence[Datagram]) -> None:
        self.refused.update(source for _, source in batch if source not in self._known)
        self._receive([(data, source) for data, source in batch if source in self._known])

    def send(self, datagrams: list[Datagram]) -> None:
        self._known.update(to for _, to in datagrams)
        self._send(datagrams)


@pytest.fixture
def torrent(make_torrent: MakeTorrent) -> Torrent:
    return parse_torrent(make_torrent(Version.V1))


async def test_we_reach_a_peer_behind_a_firewall_through_libtorrent(
    family: Family,
    host: str,
    make_torrent: MakeTorrent,
    content: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    raw, report = make_torrent(Version.V1), Report()
    parsed = parse_torrent(raw)
    key = parsed.info.info_hash
    assert key is not None
    settings = NodeSettings(bind=[(host, 0)], bootstrap=())
    async with (
        open_client(host, (), ["ut_pex"], close_redundant_connections=False, **UTP_ONLY) as relay,
        open_node(settings) as hidden,
        open_utp(hidden) as theirs,
        open_seeder(
            {key: parsed.raw_info},
            hosts=[host],
            port=port_of(hidden.endpoints[family]),
            rng=Random(1),
            utp=theirs,
        ) as target,
        open_node(settings) as node,
        open_utp(node) as ours,
        open_resolver(node, dialer=Dialer({Transport.UTP: ours}, rng=Random(2))) as resolver,
        open_background() as background,
    ):
        firewall = Firewall(theirs, monkeypatch)
        relay.add(lt.load_torrent_buffer(raw), content.parent)
        await relay.wait_alert(lt.torrent_finished_alert, lambda _: True)
        background.start_soon(target.dial, theirs, key, relay.endpoint)
        await until(lambda: target.statistics().connections == 1)
        text = f"magnet:?xt=urn:btih:{key.hex()}&x.pe={format_endpoint(relay.endpoint)}"
        link = parse_magnet(text, bound=Scope.LOOPBACK)
        resolved = await resolver.resolve(link, timeout_s=25, report=report)
        assert node.endpoints[family] in firewall.refused
    assert resolved.raw_info == parsed.raw_info


async def test_libtorrent_dials_whom_we_introduce(
    family: Family, host: str, torrent: Torrent, tmp_path: Path
) -> None:
    key = torrent.info.info_hash
    assert key is not None
    settings = NodeSettings(bind=[(host, 0)], bootstrap=())
    dialled = trio.Event()

    async def take_note(stream: trio.abc.Stream, remote: Endpoint) -> None:
        if remote == target.endpoint:
            dialled.set()

    async with (
        open_client(host, **UTP_ONLY) as target,
        open_node(settings) as relay,
        open_utp(relay) as theirs,
        open_seeder(
            {key: torrent.raw_info},
            hosts=[host],
            port=port_of(relay.endpoints[family]),
            rng=Random(1),
            utp=theirs,
        ) as seeder,
        open_node(settings) as node,
        open_utp(node) as ours,
        open_background() as background,
    ):
        background.start_soon(ours.serve, take_note)
        us = seeder.endpoints[0]
        handle = target.add(lt.parse_magnet_uri(f"magnet:?xt=urn:btih:{key.hex()}"), tmp_path)
        handle.connect_peer((host_of(us), port_of(us)))
        await target.wait_alert(lt.metadata_received_alert, lambda _: True)
        hello = ExtensionHandshake(ids=LOCAL_IDS)
        connection = PeerConnection.initiator(key, generate_peer_id(Random(3)), hello)
        async with PeerStream(await ours.connect(us), connection) as peer:
            await peer.wait_handshake_completed()
            await peer.wait_extension_handshake()
            wish = encode_holepunch_message(Rendezvous(target.endpoint))
            connection.send_extension(UT_HOLEPUNCH, wish)
            while not isinstance(event := await peer.next_event(), Connect):
                assert event is not None
            assert event == Connect(target.endpoint)
            with trio.fail_after(10):
                await dialled.wait()
