"""Links, torrents and peers: everything above the DHT.

    async with open_node() as node, open_resolver(node) as resolver:
        resolved = await resolver.resolve(uri)

Terms
-----

A *link* is a magnet URI: the hash of a torrent, and hints where its peers may be. The *metadata* is
the info dictionary in transfer, *metainfo* the .torrent file around it. *Version 1* torrents are
known by a SHA-1, *version 2* by a SHA-256 (BEP 52), a *hybrid* by both. A *swarm* is the peers of
one info-hash. A *piece* of metadata has 16 KiB and no hash of its own: only the whole can be
checked. The *piece layers* of a version 2 torrent are hashes that stand beside its info dictionary
and follow from roots in it: of them every part can be checked.

The rooms, from the ground up
-----------------------------

As in `dht`, the ground floor is pure, and a thin floor of trio stands on it.

- `errors`; `text`, `hosts`, `urls`: what strangers write, made safe to show and to call on.
- `uri` reads and writes links.
- `metainfo` reads, checks, creates and writes torrents of all versions.
- `peer` is the peer protocol, bytes in and events out: `wire`, `handshake` and `extension` frame
  it, `connection` is its state machine, `ut_metadata` and `metadata_pool` fetch metadata from many
  peers at once, `metadata_server` gives it away; `layer_pool` and `hash_server` do the same for
  piece layers. `stream`, `fetch` and `fetch_layers` put it on a trio stream.
- `transport` opens streams to peers: by TCP, uTP or a proxy, plain or encrypted, in the way that
  each of them takes.
- `sources` finds peers: the DHT, trackers, neighbours in the local network, and what a link itself
  names, each under one contract.
- `resolve` turns a link into a torrent: `ranking` decides who is tried, `admission` how many at
  once, `resolution` tries them, `completion` knows what a torrent needs besides its metadata,
  `resolver` does so for any number of links, `giving` gives the metadata on to peers that lack it,
  `report` tells the story, `output` writes the file. `batch` works through a queue of links that
  survives the process.
- `seeder` serves metadata to whoever connects, and brings the peers of a torrent together. `demo`
  shows everything at work on one machine.
- `describe` puts links and torrents into words, and `cli` is the `magnet` command.

Imports run downwards. Of `dht`, only values, the node and what surrounds it are used, never the
machines of its engine.

How a link is resolved
----------------------

`Resolver.resolve` runs all sources of the link at once. The peers that they name go into a
`Ranking`, from which attempts take the next: each dials its peer and joins the link's
`MetadataPool`, which says what to request of whom. When the pool has a whole with the right hash,
it is parsed; of a version 2 or hybrid torrent the attempts then go on for a while, with a
`LayerPool`. At last everything is cancelled, and what there is gets wrapped into a .torrent.
Whatever happened on the way is in the `Report`, and what the torrent lacks.
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
from magnet.resolve.resolver import Resolved, Resolver, open_resolver
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
    "open_resolver",
    "open_seeder",
    "parse_info",
    "parse_magnet",
    "parse_torrent",
]
