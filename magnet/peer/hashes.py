"""Which hash requests give a file's piece layer, and whether what comes back is true.

A layer is requested in runs that start at multiples of `RUN_LENGTH`, each together with the uncles
that lead from it to the root. The root is part of the metadata, so every answer can be checked by
itself, whoever gave it.

Spec: BEP 52 "hash request", "hashes".
"""

from collections.abc import Iterator
from typing import Final

from magnet.metainfo.merkle import HASH_BYTES, piece_layer_height, root_of_run
from magnet.peer.wire import Hashes, HashRange

RUN_LENGTH: Final = 512
"""Hashes requested at once, the most that BEP 52 advises: 16 KiB, as for a block."""

_RUN_LENGTH_MIN: Final = 2
"""Fewer may not be requested; in libtorrent a request for one hash gets too few uncles."""


def layer_ranges(pieces_root: bytes, piece_count: int, piece_length: int) -> Iterator[HashRange]:
    """Yield the ranges that make up the piece layer of a file.

    Args:
        pieces_root: Root of the file's tree, 32 bytes.
        piece_count: How many pieces the file has, at least two: the hash of a single one is the
            root.
        piece_length: In bytes: a power of two, at least 16 KiB.

    Spec: BEP 52 "hash request".
    """
    height = piece_layer_height(piece_length)
    # The layer's own level is one more than there are proofs for, and the root needs none.
    proof_layers = _power_of_two(piece_count).bit_length() - 2
    for index in range(0, piece_count, RUN_LENGTH):
        rest = min(piece_count - index, RUN_LENGTH)
        length = max(_power_of_two(rest), _RUN_LENGTH_MIN)
        yield HashRange(pieces_root, height, index, length, proof_layers)


def uncle_count(wanted: HashRange) -> int:
    """Return how many uncles answer a request.

    The first that `proof_layers` counts are those within the run, which follow from its hashes.

    Args:
        wanted: A range with a length of at least one.

    Spec: BEP 52 "hashes".
    """
    return max(0, wanted.proof_layers - (wanted.length.bit_length() - 2))


def are_proven(message: Hashes) -> bool:
    """Tell whether the hashes of a message, with its uncles, lead to the root it names.

    Args:
        message: With a range that was requested, up to the root: what a range says is not checked.
    """
    wanted = message.range
    if len(message.hashes) != (wanted.length + uncle_count(wanted)) * HASH_BYTES:
        return False
    end = wanted.length * HASH_BYTES
    root = root_of_run(message.hashes[:end], wanted.index, message.hashes[end:])
    return root == wanted.pieces_root


def _power_of_two(count: int) -> int:
    """Return the least power of two that is not less than a positive number."""
    return 1 << (count - 1).bit_length()
