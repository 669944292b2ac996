"""The piece layers of a v2 or hybrid torrent: which there are, and whether they are true.

They stand beside the info dictionary, since its roots are enough to check them. A file of one piece
has none, for the hash of that piece is the root; files of the same content share theirs.

Spec: BEP 52 "piece layers".
"""

from collections.abc import Mapping

from dht.bencode import BValue
from magnet.errors import InvalidMetainfo, MetainfoFault
from magnet.metainfo.info import Info
from magnet.metainfo.merkle import HASH_BYTES, root_of_layer


def layered_files(info: Info) -> dict[bytes, int]:
    """Return which piece layers a torrent has: how many pieces are under each pieces root.

    Returns:
        Counts of at least two by roots; nothing for v1, or where no file is longer than a piece.

    Spec: BEP 52 "piece layers".
    """
    return {
        file.pieces_root: -(-file.length // info.piece_length)
        for file in info.files
        if file.pieces_root is not None and file.length > info.piece_length
    }


def check_layers(info: Info, value: BValue) -> dict[bytes, bytes]:
    """Read `piece layers`, in which every layer must lead to its root.

    Args:
        info: The torrent.
        value: What the .torrent file says, decoded.

    Returns:
        The layers that belong to files, by pieces root; some may be missing.

    Raises:
        InvalidMetainfo: `BAD_PIECE_LAYER`.

    Spec: BEP 52 "piece layers".
    """
    if not isinstance(value, dict):
        raise InvalidMetainfo(MetainfoFault.BAD_PIECE_LAYER, "piece layers is no dictionary")
    return {
        root: _checked_layer(root, value[root], count, info.piece_length)
        for root, count in layered_files(info).items()
        if root in value
    }


def has_all_layers(info: Info, layers: Mapping[bytes, bytes]) -> bool:
    """Tell whether checked layers are all that a torrent has; of a v1 torrent they always are.

    Spec: BEP 52 "piece layers".
    """
    return layered_files(info).keys() <= layers.keys()


def _checked_layer(root: bytes, layer: BValue, count: int, piece_length: int) -> bytes:
    if not isinstance(layer, bytes) or len(layer) != count * HASH_BYTES:
        raise InvalidMetainfo(MetainfoFault.BAD_PIECE_LAYER, "a piece layer of the wrong length")
    if root_of_layer(layer, piece_length) != root:
        raise InvalidMetainfo(
            MetainfoFault.BAD_PIECE_LAYER, "a piece layer does not lead to its root"
        )
    return layer
