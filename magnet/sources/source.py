"""The contract between those who find peers and those who try them.

A source is run once for each link, beside all other sources of that link. It reports each peer at
once, and as often as it likes: who is tried, when and how often is decided by the one who listens.
A source may also bring the whole metadata, as a web server does that has the .torrent.

What goes wrong with a stranger goes into the source's record, and never ends the resolve.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from dht.contact import Endpoint
from dht.keyspace import InfoHash
from magnet.uri import MagnetLink

DHT: Final = "dht"
DHT_V2: Final = "dht v2"
DHT_KEY: Final = "dht key"
LINK: Final = "link"
LSD: Final = "lsd"
PEX: Final = "pex"
"""Names of sources there is one of; `DHT_KEY` finds no peers, but what a public key leads to.
Trackers and exact sources are called by their URL."""

PUBLIC: Final = frozenset([DHT, DHT_V2, LSD, PEX])
"""Sources that a private torrent has no use of. Spec: BEP 27."""


class Wanted(NamedTuple):
    """What peers are looked for.

    Attributes:
        link: The link as given.
        keys: The swarms of its torrent: info-hash, truncated v2 info-hash, or both.
    """

    link: MagnetLink
    keys: tuple[InfoHash, ...]


@dataclass(frozen=True, slots=True)
class Hints:
    """What a source says of a peer besides its address: hearsay, good for choosing an order only.

    Attributes:
        prefers_encryption: It prefers encrypted connections.
        supports_utp: It accepts uTP.
        supports_holepunch: It can be reached by holepunch.
        via: The mutual peer that named it, which could relay a holepunch.
        is_seed: Whether it has the whole torrent; None where nothing is said.

    Spec: BEP 11 "added.f".
    """

    prefers_encryption: bool = False
    supports_utp: bool = False
    supports_holepunch: bool = False
    via: Endpoint | None = None
    is_seed: bool | None = None


NO_HINTS: Final = Hints()


class Candidate(NamedTuple):
    """A peer to try.

    Attributes:
        endpoint: Where it is.
        key: Under which info-hash it was found, which is the one to greet it with.
        source: Name of the source that found it.
        hints: What the source knows of it.
    """

    endpoint: Endpoint
    key: InfoHash
    source: str
    hints: Hints = NO_HINTS


@dataclass(slots=True)
class SourceRecord:
    """What a source did for one link; written by the source while it runs, read by the report.

    Attributes:
        name: The source's name.
        asked: Requests sent: queries, announces, datagrams.
        answered: Answers that made sense.
        failed: Requests refused, or not answered in time.
        peers: Peers reported, repeats included where the source does not tell them apart.
        error: Why the latest attempt came to nothing; None while it goes well.
        next_at: When the source tries again, in monotonic seconds; None while it is at work, and
            where it will not try again.
        first_peer_s: Seconds from the start until its first peer; noted by the listener.
        elapsed_s: Seconds it ran, once it has ended; noted by the listener.
    """

    name: str
    asked: int = 0
    answered: int = 0
    failed: int = 0
    peers: int = 0
    error: str | None = None
    next_at: float | None = None
    first_peer_s: float | None = None
    elapsed_s: float | None = None


class Findings(Protocol):
    """Takes what a source finds. Calling it never blocks and never raises."""

    def peer(self, candidate: Candidate) -> None:
        """Take a peer."""

    def metadata(self, raw_info: bytes, piece_layers: Mapping[bytes, bytes] | None = None) -> bool:
        """Take a whole info dictionary that a stranger says is the right one.

        Args:
            raw_info: As received. It is checked here against the hashes of the link.
            piece_layers: The piece layers that came with it, by root, each of which is what its
                root says: `magnet.metainfo.layers.check_layers`. Spec: BEP 52.

        Returns:
            Whether its hash is right, which ends the resolve.
        """


class PeerSource(Protocol):
    """Finds the peers of one link.

    Attributes:
        name: What the source is called in reports, such as "dht" or a tracker's URL.
    """

    @property
    def name(self) -> str:
        """What the source is called in reports."""

    async def run(self, wanted: Wanted, found: Findings, record: SourceRecord) -> None:
        """Report peers until cancelled, or until there is nothing more to give.

        Strangers' faults are noted in the record and never raised.

        Args:
            wanted: What is looked for.
            found: Takes peers and metadata.
            record: To be kept up to date while the source works.

        Raises:
            NodeClosed: The node that the source needs was closed.
        """
