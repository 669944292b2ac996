"""The hash trees of v2 torrents.

A file's leaves are the SHA-256 of its 16 KiB blocks; missing leaves up to the next power of two are
32 zero bytes; every node is the SHA-256 of its two children, and the root identifies the file. The
*height* of a level counts from the leaves, which have height 0. A *piece layer* is the level whose
nodes cover a piece each. The *uncles* of a run of nodes are what it takes, besides the run itself,
to compute the root: the sibling of the run's own ancestor, the sibling of that one's parent, and so
on up to the two nodes below the root.

Levels are strings of hashes, 32 bytes each, without the nodes that have only missing leaves below
them: those are the same in every tree.

Spec: BEP 52 "pieces root", "piece layers", "hashes".
"""

import hashlib
from functools import lru_cache
from typing import Final

from magnet.metainfo.layout import BLOCK_BYTES

HASH_BYTES: Final = 32

_PAIR_BYTES: Final = 2 * HASH_BYTES


@lru_cache(maxsize=64)
def padding_hash(height: int) -> bytes:
    """Return the node `height` levels above the leaves that has only missing leaves below it."""
    node = bytes(HASH_BYTES)
    for _ in range(height):
        node = _parent(node, node)
    return node


def piece_layer_height(piece_length: int) -> int:
    """Return the height of the piece layer.

    Args:
        piece_length: In bytes: a power of two, at least `BLOCK_BYTES`.
    """
    return (piece_length // BLOCK_BYTES).bit_length() - 1


def root_of_layer(layer: bytes, piece_length: int) -> bytes:
    """Return the root of the tree that has a given piece layer.

    Args:
        layer: The hashes of the pieces, 32 bytes each, at least one.
        piece_length: Bytes under each of them: a power of two, at least `BLOCK_BYTES`.

    Spec: BEP 52 "piece layers".
    """
    padding = padding_hash(piece_layer_height(piece_length))
    while len(layer) > HASH_BYTES:
        layer = _level_above(layer, padding)
        padding = _parent(padding, padding)
    return layer


def root_of_run(run: bytes, index: int, uncles: bytes) -> bytes:
    """Return the root that a run of nodes and its uncles lead to.

    Args:
        run: Neighbouring nodes of one level, padding included: a power of two of them.
        index: Where in the level the first stands; a multiple of their number.
        uncles: From the lowest to the one below the root.

    Spec: BEP 52 "hashes".
    """
    position = index // (len(run) // HASH_BYTES)
    node = run
    while len(node) > HASH_BYTES:
        node = _level_above(node, b"")
    for start in range(0, len(uncles), HASH_BYTES):
        uncle = uncles[start : start + HASH_BYTES]
        node = _parent(uncle, node) if position % 2 else _parent(node, uncle)
        position //= 2
    return node


class HashTree:
    """A file's tree from one of its levels up to the root.

    Attributes:
        height: Height of the root.
        root: What identifies the file.
    """

    __slots__ = ("_levels", "_lowest", "_padding", "height", "root")

    def __init__(self, level: bytes, *, height: int = 0) -> None:
        """Compute what is above a level; takes one hash for each of its nodes.

        Args:
            level: At least one node.
            height: How far above the leaves they are.
        """
        padding = padding_hash(height)
        self._lowest = height
        self._levels = [level]
        self._padding = [padding]
        while len(level) > HASH_BYTES:
            level = _level_above(level, padding)
            padding = _parent(padding, padding)
            self._levels.append(level)
            self._padding.append(padding)
        self.height = height + len(self._levels) - 1
        self.root = level

    def level(self, height: int) -> bytes:
        """Return the nodes of a level.

        Raises:
            IndexError: It is below what is known, or above the root.
        """
        if not self._lowest <= height <= self.height:
            raise IndexError(f"no level {height}")
        return self._levels[height - self._lowest]

    def run(self, height: int, index: int, length: int) -> bytes:
        """Return neighbouring nodes of a level, padding included.

        Args:
            height: Of the level.
            index: Where the first of them stands.
            length: How many; the last must still be in the tree.

        Raises:
            IndexError: Some of them are not in the tree, or below what is known.
        """
        nodes = self.level(height)
        if not 0 <= index <= index + length <= 1 << (self.height - height):
            raise IndexError(f"no nodes {index} to {index + length} in level {height}")
        found = nodes[index * HASH_BYTES : (index + length) * HASH_BYTES]
        missing = length - len(found) // HASH_BYTES
        return found + missing * self._padding[height - self._lowest]

    def uncles(self, height: int, index: int, length: int, count: int) -> bytes:
        """Return uncles of a run of nodes, from the lowest up.

        Args:
            height: Of the run's level.
            index: Where the run begins; a multiple of `length`.
            length: Of the run, a power of two.
            count: How many uncles; with all of them the next would be beside the root.

        Raises:
            IndexError: There are not so many, or the run is not in the tree.
        """
        ancestor_height = height + length.bit_length() - 1
        position = index // length
        found = []
        for step in range(count):
            found.append(self.run(ancestor_height + step, (position >> step) ^ 1, 1))
        return b"".join(found)


def _level_above(level: bytes, padding: bytes) -> bytes:
    """Return the parents of a level; where a last node has no sibling, that is `padding`."""
    if len(level) % _PAIR_BYTES:
        level += padding
    sha256 = hashlib.sha256
    return b"".join(
        [
            sha256(level[start : start + _PAIR_BYTES]).digest()
            for start in range(0, len(level), _PAIR_BYTES)
        ]
    )


def _parent(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(left + right).digest()
