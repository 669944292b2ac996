"""Answers to peers who ask for hashes of v2 torrents.

One `HashServer` stands for one torrent and is shared by its connections; each connection gets a
`HashSession`, which counts what it has given. What is above the piece layers is computed once, so
that an answer costs no more than its own bytes. Below them there is nothing here: that would take
the content.

Spec: BEP 52 "hash request", "hashes", "hash reject".
"""

from collections.abc import Mapping
from typing import Final, Self

from magnet.metainfo.layout import BLOCK_BYTES
from magnet.metainfo.merkle import HASH_BYTES, HashTree, piece_layer_height
from magnet.metainfo.torrent import Torrent
from magnet.peer.hashes import uncle_count
from magnet.peer.wire import Hashes, HashRange, HashReject

LENGTH_MAX: Final = 8_192
"""Hashes in one answer besides uncles, as in libtorrent; BEP 52 advises to ask for 512."""

SERVINGS_MAX: Final = 3
"""How often one connection may draw all layers, as with metadata."""


class HashServer:
    """The piece layers of one torrent, ready to be handed out."""

    def __init__(self, layers: Mapping[bytes, bytes], piece_length: int) -> None:
        """Take layers; costs one hash for each piece.

        Args:
            layers: By pieces root, checked.
            piece_length: In bytes.
        """
        height = piece_layer_height(piece_length)
        self._trees = {root: HashTree(layer, height=height) for root, layer in layers.items()}
        self._hash_count = sum(map(len, layers.values())) // HASH_BYTES

    @classmethod
    def of(cls, torrent: Torrent) -> Self:
        """Serve the layers that a .torrent file has."""
        return cls(torrent.piece_layers, torrent.info.piece_length)

    @property
    def size(self) -> int:
        """Bytes of the layers."""
        return self._hash_count * HASH_BYTES

    def open_session(self) -> "HashSession":
        """Return the answers for one connection."""
        return HashSession(self._trees, SERVINGS_MAX * self._hash_count)


NO_HASHES: Final = HashServer({}, BLOCK_BYTES)
"""Rejects everything."""


class HashSession:
    """What one connection may draw from a `HashServer`.

    Attributes:
        served: Requests answered with hashes.
        rejected: Requests refused.
    """

    def __init__(self, trees: Mapping[bytes, HashTree], budget: int) -> None:
        """Start with nothing given.

        Args:
            trees: By pieces root.
            budget: Hashes to be given, uncles not counted.
        """
        self._trees = trees
        self._budget = budget
        self.served = 0
        self.rejected = 0

    def answer(self, wanted: HashRange) -> Hashes | HashReject:
        """Return the hashes, or a rejection: they are not here, or the peer had its share.

        Spec: BEP 52 "hash request", "hashes", "hash reject".
        """
        hashes = self._find(wanted)
        if hashes is None:
            self.rejected += 1
            return HashReject(wanted)
        self.served += 1
        self._budget -= wanted.length
        return Hashes(wanted, hashes)

    def _find(self, wanted: HashRange) -> bytes | None:
        tree = self._trees.get(wanted.pieces_root)
        if tree is None or not _is_sound(wanted, tree) or wanted.length > self._budget:
            return None
        place = (wanted.base_layer, wanted.index, wanted.length)
        try:
            return tree.run(*place) + tree.uncles(*place, uncle_count(wanted))
        except IndexError:  # It is below the piece layer, or beyond the file.
            return None


def _is_sound(wanted: HashRange, tree: HashTree) -> bool:
    """Tell whether a request is one that a tree of that height can have an answer to.

    A length of one is less than BEP 52 allows, but what libtorrent asks for at the end of a file.
    """
    length = wanted.length
    is_power_of_two = length > 0 and length & (length - 1) == 0
    return (
        is_power_of_two
        and length <= LENGTH_MAX
        and wanted.index % length == 0
        and wanted.base_layer + wanted.proof_layers < tree.height
    )
