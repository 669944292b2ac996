"""Links, torrents and peers: everything above the DHT.

    async with open_node() as node:
        resolved = await Resolver(node).resolve(parse_magnet(uri))

Terms
-----

A *link* is a magnet URI: the hash of a torrent, and hints where its peers may be. The *metadata* is
the info dictionary in transfer, *metainfo* the .torrent file around it. *Version 1* torrents are
known by a SHA-1, *version 2* by a SHA-256 (BEP 52), a *hybrid* by both. A *swarm* is the peers of
one info-hash. A *piece* of metadata has 16 KiB and no hash of its own: only the whole can be
checked.

The rooms, from the ground up
-----------------------------

As in `dht`, the ground floor is pure, and a thin floor of trio stands on it.

- `errors`; `text`, `hosts`, `urls`: what strangers write, made safe to show and to call on.
- `uri` reads and writes links.
- `metainfo` reads, checks, creates and writes torrents of all versions.
- `peer` is the peer protocol, bytes in and events out: `wire`, `handshake` and `extension` frame
  it, `connection` is its state machine, `ut_metadata` and `metadata_pool` fetch metadata from many
  peers at once, `metadata_server` gives it away. `stream` and `fetch` put it on a trio stream.
- `transport` opens streams to peers.
- `resolve` turns a link into a torrent: `swarm` decides who is tried, `resolver` tries them,
  `report` tells the story, `output` writes the file.
- `seeder` serves metadata to whoever connects. `demo` shows everything at work on one machine.
- `describe` puts links and torrents into words, and `cli` is the `magnet` command.

Imports run downwards. Of `dht`, only values, the node and what surrounds it are used, never the
machines of its engine.

How a link is resolved
----------------------

`Resolver.resolve` starts a search for each swarm of the link. Peers go from the running search into
a channel, from which workers take them: each dials its peer and joins the link's `MetadataPool`,
which says what to request of whom. When the pool has a whole with the right hash, the workers are
cancelled, and the metadata is parsed and wrapped into a .torrent. Whatever happened on the way is
in the `Report`.
"""

from magnet.errors import (
    DiskError,
    InvalidMagnetURI,
    InvalidMetainfo,
    MagnetError,
    PeerError,
    ResolveError,
    ResolveTimeout,
)
from magnet.metainfo.info import Info, parse_info
from magnet.metainfo.torrent import Torrent, build_torrent, parse_torrent
from magnet.resolve.report import Report
from magnet.resolve.resolver import Resolved, Resolver
from magnet.seeder import Seeder, open_seeder
from magnet.uri import MagnetLink, format_magnet, parse_magnet

__all__ = [
    "DiskError",
    "Info",
    "InvalidMagnetURI",
    "InvalidMetainfo",
    "MagnetError",
    "MagnetLink",
    "PeerError",
    "Report",
    "ResolveError",
    "ResolveTimeout",
    "Resolved",
    "Resolver",
    "Seeder",
    "Torrent",
    "build_torrent",
    "format_magnet",
    "open_seeder",
    "parse_info",
    "parse_magnet",
    "parse_torrent",
]
