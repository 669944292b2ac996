from typing import Any

from magnet.metainfo.merkle import padding_hash, root_of_layer


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


def test_one_piece_is_its_own_root() -> None:
    assert root_of_layer(bytes(range(32)), 2**20) == bytes(range(32))
