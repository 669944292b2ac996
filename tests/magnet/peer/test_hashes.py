"""Hash requests: changes to what is proven first, then vectors, then layers of every size."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from magnet.metainfo.merkle import HASH_BYTES, HashTree
from magnet.peer.hashes import RUN_LENGTH, are_proven, layer_ranges, uncle_count
from magnet.peer.wire import Hashes, HashRange, HashRequest

PIECE_LENGTH = 65_536
HEIGHT = 2
VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "vectors/hash_trees.json").read_text()
)


def tree_of(pieces: int) -> HashTree:
    level = b"".join(hashlib.sha256(b"%d" % index).digest() for index in range(pieces))
    return HashTree(level, height=HEIGHT)


def answer(tree: HashTree, wanted: HashRange) -> Hashes:
    place = (wanted.base_layer, wanted.index, wanted.length)
    return Hashes(wanted, tree.run(*place) + tree.uncles(*place, uncle_count(wanted)))


def ranges_of(tree: HashTree) -> list[HashRange]:
    pieces = len(tree.level(HEIGHT)) // HASH_BYTES
    return list(layer_ranges(tree.root, pieces, PIECE_LENGTH))


TREE = tree_of(1_100)
ANSWERS = [answer(TREE, wanted) for wanted in ranges_of(TREE)]


@given(
    which=st.sampled_from(ANSWERS),
    at=st.integers(0, RUN_LENGTH * HASH_BYTES),
    mask=st.integers(1, 255),
)
def test_a_changed_byte_is_found(which: Hashes, at: int, mask: int) -> None:
    changed = bytearray(which.hashes)
    changed[at % len(changed)] ^= mask
    assert not are_proven(replace(which, hashes=bytes(changed)))


@given(which=st.sampled_from(ANSWERS), data=st.data())
def test_exchanged_hashes_are_found(which: Hashes, data: st.DataObject) -> None:
    count = len(which.hashes) // HASH_BYTES
    one, other = data.draw(st.lists(st.integers(0, count - 1), min_size=2, max_size=2, unique=True))
    nodes = [which.hashes[i * HASH_BYTES : (i + 1) * HASH_BYTES] for i in range(count)]
    if nodes[one] == nodes[other]:  # Both are padding.
        return
    nodes[one], nodes[other] = nodes[other], nodes[one]
    assert not are_proven(replace(which, hashes=b"".join(nodes)))


@pytest.mark.parametrize("which", ANSWERS)
def test_missing_or_additional_hashes_are_found(which: Hashes) -> None:
    for hashes in (
        b"",
        which.hashes[:-HASH_BYTES],
        which.hashes[HASH_BYTES:],
        which.hashes + bytes(HASH_BYTES),
        which.hashes[: which.range.length * HASH_BYTES],
        which.hashes * 2,
    ):
        assert not are_proven(replace(which, hashes=hashes))


def test_hashes_of_another_place_are_found() -> None:
    first, second, _ = ANSWERS
    assert not are_proven(replace(first, range=second.range))
    assert not are_proven(replace(second, range=first.range))
    other_file = replace(first.range, pieces_root=bytes(HASH_BYTES))
    assert not are_proven(replace(first, range=other_file))


def test_request_and_answer_vector() -> None:
    """BEP 52: two leaves of five, and the uncles up to the root."""
    vector = VECTORS["request"]
    content = bytes(i % 251 for i in range(81_920))
    blocks = [content[start : start + 16_384] for start in range(0, len(content), 16_384)]
    tree = HashTree(b"".join(hashlib.sha256(block).digest() for block in blocks))
    counts = [vector[name] for name in ("base_layer", "index", "length", "proof_layers")]
    wanted = HashRange(tree.root, *counts)
    assert HashRequest(wanted).encode().hex() == vector["encoded"]
    reply = answer(tree, wanted)
    assert reply.hashes[2 * HASH_BYTES :].hex() == "".join(VECTORS["uncles"])
    assert len(reply.encode()) == VECTORS["reply_bytes"]
    assert reply.encode().hex().startswith(VECTORS["reply_prefix"])
    assert are_proven(reply)


@pytest.mark.parametrize("vector", VECTORS["layers"], ids=lambda vector: str(vector["torrent"]))
def test_layers_of_other_programs_are_proven(vector: dict[str, Any]) -> None:
    """libtorrent's own .torrent files: of a layer that is no power of two, padding is sent."""
    layer = bytes.fromhex("".join(vector["layer"]))
    count = len(vector["layer"])
    root = bytes.fromhex(vector["root"])
    (wanted,) = layer_ranges(root, count, vector["piece_length"])
    tree = HashTree(layer, height=wanted.base_layer)
    assert wanted.length == 1 << (count - 1).bit_length()
    assert are_proven(answer(tree, wanted))


@pytest.mark.parametrize(
    ("pieces", "runs"),
    [
        (2, [(0, 2, 0)]),
        (3, [(0, 4, 1)]),
        (512, [(0, 512, 8)]),
        (513, [(0, 512, 9), (512, 2, 9)]),
        (600, [(0, 512, 9), (512, 128, 9)]),
        (1_024, [(0, 512, 9), (512, 512, 9)]),
        (1_025, [(0, 512, 10), (512, 512, 10), (1_024, 2, 10)]),
    ],
)
def test_runs_of_a_layer(pieces: int, runs: list[tuple[int, int, int]]) -> None:
    """As libtorrent asks, but for the run of one hash, of which BEP 52 makes two."""
    ranges = list(layer_ranges(b"r" * 32, pieces, PIECE_LENGTH))
    assert [(it.index, it.length, it.proof_layers) for it in ranges] == runs
    assert {it.base_layer for it in ranges} == {HEIGHT}


@pytest.mark.parametrize("pieces", [*range(2, 20), 511, 512, 513, 1_023, 1_024, 1_025, 1_537])
def test_runs_make_up_the_layer(pieces: int) -> None:
    tree = tree_of(pieces)
    replies = [answer(tree, wanted) for wanted in ranges_of(tree)]
    assert all(map(are_proven, replies))
    layer = b"".join(it.hashes[: it.range.length * HASH_BYTES] for it in replies)
    assert layer[: pieces * HASH_BYTES] == tree.level(HEIGHT)
