"""The hash trees of v2 torrents.

A file's leaves are the SHA-256 of its 16 KiB blocks; missing leaves up to the next power of two are
32 zero bytes; every node is the SHA-256 of its two children, and the root identifies the file. A
*piece layer* is the level of the tree whose nodes cover a piece each.

Spec: BEP 52 "pieces root", "piece layers".
"""

import hashlib
from typing import Final

from magnet.metainfo.layout import BLOCK_BYTES

HASH_BYTES: Final = 32


def padding_hash(height: int) -> bytes:
    """Return the node `height` levels above the leaves that has only missing leaves below it."""
    node = bytes(HASH_BYTES)
    for _ in range(height):
        node = _parent(node, node)
    return node


def root_of_layer(layer: bytes, piece_length: int) -> bytes:
    """Return the root of the tree that has a given piece layer.

    Args:
        layer: The hashes of the pieces, 32 bytes each, at least one.
        piece_length: Bytes under each of them: a power of two, at least `BLOCK_BYTES`.

    Spec: BEP 52 "piece layers".
    """
    level = [layer[i : i + HASH_BYTES] for i in range(0, len(layer), HASH_BYTES)]
    padding = padding_hash((piece_length // BLOCK_BYTES).bit_length() - 1)
    while len(level) > 1:
        if len(level) % 2:
            level.append(padding)
        level = [_parent(*pair) for pair in zip(level[::2], level[1::2], strict=True)]
        padding = _parent(padding, padding)
    return level[0]


def _parent(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(left + right).digest()
