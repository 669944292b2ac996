"""Hash trees: what is not in them first, then vectors, then every run of every small tree."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from magnet.metainfo.merkle import (
    HASH_BYTES,
    HashTree,
    padding_hash,
    piece_layer_height,
    root_of_layer,
    root_of_run,
)

TREES: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "vectors/hash_trees.json").read_text()
)


def leaves(count: int) -> bytes:
    return b"".join(hashlib.sha256(index.to_bytes(4)).digest() for index in range(count))


def flip(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8 % len(data)] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.parametrize(
    "place",
    [
        (0, 0, 1),  # below what is known
        (5, 0, 1),  # above the root
        (1, 8, 1),
        (1, 4, 8),
        (1, -1, 1),
        (1, 1, -1),
        (4, 1, 1),
    ],
)
def test_nodes_that_are_not_in_the_tree(place: tuple[int, int, int]) -> None:
    tree = HashTree(leaves(5), height=1)
    assert tree.height == 4
    with pytest.raises(IndexError):
        tree.run(*place)


@pytest.mark.parametrize("uncles", [((1, 0, 1), 4), ((1, 0, 4), 2), ((4, 0, 1), 1)])
def test_uncles_that_are_not_in_the_tree(uncles: tuple[tuple[int, int, int], int]) -> None:
    place, count = uncles
    with pytest.raises(IndexError):
        HashTree(leaves(5), height=1).uncles(*place, count)


def test_padding_hashes(vectors: dict[str, Any]) -> None:
    """BEP 52: nodes above leaves that are not there."""
    hashes = [bytes.fromhex(node) for node in vectors["padding_hashes"]]
    assert [padding_hash(height) for height in range(len(hashes))] == hashes


def test_piece_layers_lead_to_their_roots(vectors: dict[str, Any]) -> None:
    """BEP 52: three pieces, where one is padding, and two."""
    single, directory = vectors["v2_single"], vectors["hybrid_directory"]
    layer = bytes.fromhex("".join(single["layer"]))
    assert root_of_layer(layer, 32_768).hex() == single["root"]
    assert root_of_layer(layer, 16_384).hex() != single["root"]
    layer = bytes.fromhex("".join(directory["layer"]))
    assert root_of_layer(layer, 32_768).hex() == directory["roots"]["sub/b.bin"]


@pytest.mark.parametrize("vector", TREES["layers"], ids=lambda vector: str(vector["torrent"]))
def test_layers_of_other_programs(vector: dict[str, Any]) -> None:
    """libtorrent's own .torrent files."""
    layer = bytes.fromhex("".join(vector["layer"]))
    assert root_of_layer(layer, vector["piece_length"]).hex() == vector["root"]
    tree = HashTree(layer, height=piece_layer_height(vector["piece_length"]))
    assert tree.root.hex() == vector["root"]
    blocks = -(-vector["length"] // 16_384)
    assert tree.height == (blocks - 1).bit_length()


def test_one_piece_is_its_own_root() -> None:
    assert root_of_layer(bytes(range(32)), 2**20) == bytes(range(32))
    tree = HashTree(bytes(range(32)), height=6)
    assert (tree.root, tree.height) == (bytes(range(32)), 6)
    assert root_of_run(tree.run(6, 0, 1), 0, b"") == tree.root


def test_tree_of_a_file_from_its_leaves(vectors: dict[str, Any]) -> None:
    """BEP 52: blocks, piece layer and root of one file; the last block is alone in its piece."""
    single = vectors["v2_single"]
    content = bytes(i % 251 for i in range(single["length"]))
    blocks = (content[start : start + 16_384] for start in range(0, len(content), 16_384))
    tree = HashTree(b"".join(hashlib.sha256(block).digest() for block in blocks))
    assert tree.root.hex() == single["root"]
    assert tree.level(1).hex() == "".join(single["layer"])
    assert tree.run(1, 2, 2) == tree.level(1)[-HASH_BYTES:] + padding_hash(1)
    assert tree.uncles(0, 0, 2, 2).hex() == "".join(TREES["uncles"])


@pytest.mark.parametrize("height", [0, 3])
def test_every_run_leads_to_the_root(height: int) -> None:
    for count in range(1, 18):
        tree = HashTree(leaves(count), height=height)
        width = 1 << (tree.height - height)
        for exponent in range(tree.height - height + 1):
            length = 1 << exponent
            above = tree.height - height - exponent
            for index in range(0, width, length):
                run = tree.run(height, index, length)
                uncles = tree.uncles(height, index, length, above)
                assert root_of_run(run, index, uncles) == tree.root
                assert tree.run(height + exponent, index // length, 1) == root_of_run(run, 0, b"")


@given(
    count=st.integers(2, 40),
    exponent=st.integers(0, 3),
    place=st.integers(0, 100),
    bit=st.integers(0, 10_000),
)
def test_any_change_leads_elsewhere(count: int, exponent: int, place: int, bit: int) -> None:
    tree = HashTree(leaves(count))
    exponent = min(exponent, tree.height)
    length = 1 << exponent
    index = place % (1 << (tree.height - exponent)) * length
    run, uncles = tree.run(0, index, length), tree.uncles(0, index, length, tree.height - exponent)
    assert root_of_run(run, index, uncles) == tree.root
    assert root_of_run(flip(run, bit), index, uncles) != tree.root
    if uncles:
        assert root_of_run(run, index, flip(uncles, bit)) != tree.root
        assert root_of_run(run, index, uncles[:-HASH_BYTES]) != tree.root
        assert root_of_run(run, index, uncles + bytes(HASH_BYTES)) != tree.root
