"""libtorrent that insists on encryption, or refuses it, in both directions."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import libtorrent as lt
import pytest

from dht.contact import Family, port_of
from dht.keyspace import InfoHash
from dht.node import NodeSettings, open_node
from magnet.errors import PeerDisconnected
from magnet.metainfo.info import Version
from magnet.metainfo.torrent import parse_torrent
from magnet.peer.encryption.cipher import CryptoMethod
from magnet.peer.fetch import fetch_metadata, prepare_fetch
from magnet.peer.metadata_pool import MetadataPool
from magnet.seeder import open_seeder
from magnet.transport.carrier import Transport
from magnet.transport.dial import Dialer, DialPolicy, EncryptionPolicy
from magnet.transport.tcp import TcpCarrier
from magnet.transport.utp.socket import open_utp
from magnet.uri import MagnetLink, format_magnet
from tests.interop.client import TCP_ONLY, Client, open_client

pytestmark = pytest.mark.interop

MakeTorrent = Callable[[Version], bytes]

HOST = "127.0.0.1"

FORCED, DISABLED = int(lt.enc_policy.pe_forced), int(lt.enc_policy.pe_disabled)
PLAINTEXT, RC4, BOTH = (
    int(level) for level in (lt.enc_level.pe_plaintext, lt.enc_level.pe_rc4, lt.enc_level.pe_both)
)

ENCRYPTED = "TCP, encrypted"
ENCRYPTED_HANDSHAKE = "TCP, encrypted handshake"


@asynccontextmanager
async def seeding(
    torrent: bytes, content: Path, settings: Mapping[str, int]
) -> AsyncIterator[Client]:
    """Let libtorrent seed a torrent, of which nobody is told."""
    async with open_client(HOST, (), **settings) as client:
        client.add(lt.load_torrent_buffer(torrent), content.parent)
        await client.wait_alert(lt.torrent_finished_alert, lambda _: True)
        yield client


def dialer(policy: DialPolicy) -> Dialer:
    return Dialer({Transport.TCP: TcpCarrier()}, policy=policy, rng=Random(1))


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ({"in_enc_policy": FORCED}, DialPolicy(EncryptionPolicy.NEVER)),
        ({"in_enc_policy": DISABLED}, DialPolicy(EncryptionPolicy.REQUIRED)),
        (
            {"in_enc_policy": FORCED, "allowed_enc_level": RC4},
            DialPolicy(EncryptionPolicy.REQUIRED, CryptoMethod.PLAINTEXT),
        ),
    ],
    ids=["never", "required", "another method"],
)
async def test_policies_that_exclude_each_other(
    make_torrent: MakeTorrent, content: Path, theirs: dict[str, int], ours: DialPolicy
) -> None:
    torrent = make_torrent(Version.V1)
    key = parse_torrent(torrent).info.info_hash
    assert key is not None
    async with seeding(torrent, content, theirs) as client:
        connection = prepare_fetch(client.endpoint, info_hash=key, rng=Random(2))
        with pytest.raises(PeerDisconnected):
            await dialer(ours).connect(client.endpoint, key, connection.data_to_send())


@pytest.mark.parametrize(
    ("theirs", "ours", "way"),
    [
        ({"in_enc_policy": FORCED}, DialPolicy(), ENCRYPTED_HANDSHAKE),
        ({"in_enc_policy": FORCED, "prefer_rc4": True}, DialPolicy(), ENCRYPTED),
        ({"in_enc_policy": FORCED, "allowed_enc_level": RC4}, DialPolicy(), ENCRYPTED),
        (
            {"in_enc_policy": FORCED, "allowed_enc_level": PLAINTEXT},
            DialPolicy(),
            ENCRYPTED_HANDSHAKE,
        ),
        ({}, DialPolicy(), "TCP"),
        ({}, DialPolicy(EncryptionPolicy.PREFERRED, CryptoMethod.RC4), ENCRYPTED),
        ({"in_enc_policy": DISABLED}, DialPolicy(EncryptionPolicy.PREFERRED), "TCP"),
    ],
    ids=["forced", "rc4 preferred", "rc4", "plaintext", "as it comes", "asked for", "disabled"],
)
async def test_metadata_comes_from_libtorrent(
    make_torrent: MakeTorrent,
    content: Path,
    theirs: dict[str, int],
    ours: DialPolicy,
    way: str,
) -> None:
    torrent = make_torrent(Version.V1)
    raw_info, key = parse_torrent(torrent).raw_info, parse_torrent(torrent).info.info_hash
    assert key is not None
    pool = MetadataPool(info_hash=key)
    async with seeding(torrent, content, theirs) as client:
        connection = prepare_fetch(client.endpoint, info_hash=key, rng=Random(2))
        dialled = await dialer(ours).connect(client.endpoint, key, connection.data_to_send())
        await fetch_metadata(dialled.stream, connection, pool, client.endpoint)
    assert str(dialled.way) == way
    assert dialled.is_encrypted_only is (theirs.get("in_enc_policy") == FORCED)
    assert pool.metadata == raw_info


@pytest.mark.parametrize(
    ("level", "prefer_rc4"), [(BOTH, False), (BOTH, True), (RC4, False), (PLAINTEXT, False)]
)
@pytest.mark.parametrize("version", Version, ids=lambda version: version.value)
async def test_libtorrent_gets_the_metadata(
    make_torrent: MakeTorrent,
    tmp_path: Path,
    level: int,
    prefer_rc4: bool,
    version: Version,
) -> None:
    torrent = parse_torrent(make_torrent(version))
    keys = [
        InfoHash(key[:20]) for key in (torrent.info.info_hash, torrent.info.info_hash_v2) if key
    ]
    settings: dict[str, int] = {
        **TCP_ONLY,
        "out_enc_policy": FORCED,
        "allowed_enc_level": level,
        "prefer_rc4": prefer_rc4,
    }
    link = MagnetLink(info_hash=torrent.info.info_hash, info_hash_v2=torrent.info.info_hash_v2)
    async with (
        open_seeder(dict.fromkeys(keys, torrent.raw_info), hosts=[HOST], rng=Random(1)) as seeder,
        open_client(HOST, (), **settings) as client,
    ):
        handle = client.add(lt.parse_magnet_uri(format_magnet(link)), tmp_path)
        handle.connect_peer((HOST, seeder.port))
        await client.wait_alert(lt.metadata_received_alert, lambda _: True)
        found = handle.torrent_file()
        assert found is not None
        assert found.info_section() == torrent.raw_info
        assert seeder.statistics().encrypted == seeder.statistics().accepted >= 1


async def test_libtorrent_gets_the_metadata_by_encrypted_utp(
    make_torrent: MakeTorrent, tmp_path: Path
) -> None:
    torrent = parse_torrent(make_torrent(Version.V1))
    key = torrent.info.info_hash
    assert key is not None
    settings = {
        "enable_outgoing_tcp": False,
        "out_enc_policy": FORCED,
        "allowed_enc_level": RC4,
    }
    async with (
        open_node(NodeSettings(bind=[(HOST, 0)], bootstrap=())) as node,
        open_utp(node) as utp,
        open_seeder(
            {key: torrent.raw_info},
            hosts=[HOST],
            port=port_of(node.endpoints[Family.IPV4]),
            rng=Random(1),
            utp=utp,
        ) as seeder,
        open_client(HOST, (), **settings) as client,
    ):
        handle = client.add(lt.parse_magnet_uri(format_magnet(MagnetLink(info_hash=key))), tmp_path)
        handle.connect_peer((HOST, seeder.port))
        await client.wait_alert(lt.metadata_received_alert, lambda _: True)
        assert seeder.statistics().encrypted == seeder.statistics().accepted >= 1
        assert utp.counts.accepted
