from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dht.bencode import encode, is_canonical
from magnet.metainfo.create import create_directory_info, create_file_info
from magnet.metainfo.info import parse_info

CONTENT = bytes(i % 251 for i in range(81_920))


@pytest.mark.parametrize("piece_length", [0, -16_384, 8_192, 24_576, 2**25])
def test_a_piece_length_we_do_not_make_is_refused(piece_length: int) -> None:
    with pytest.raises(ValueError, match="piece length"):
        create_file_info("a", [b"x"], piece_length)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\0"])
def test_a_name_that_no_file_has_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name of a file"):
        create_file_info(name, [b"x"], 16_384)
    with pytest.raises(ValueError, match="name of a file"):
        create_directory_info("d", [([name], [b"x"])], 16_384)


def test_a_torrent_without_content_or_path_is_refused() -> None:
    with pytest.raises(ValueError, match="content"):
        create_file_info("a", [b""], 16_384)
    with pytest.raises(ValueError, match="content"):
        create_directory_info("a", [], 16_384)
    with pytest.raises(ValueError, match="path"):
        create_directory_info("a", [([], [b"x"])], 16_384)


@pytest.mark.parametrize("chunk", [1_000, 16_384, 40_000])
def test_v1_vector(vectors: dict[str, Any], v1: dict[bytes, Any], chunk: int) -> None:
    """BEP 3, one file, in chunks of any size."""
    chunks = [CONTENT[:40_000][i : i + chunk] for i in range(0, 40_000, chunk)]
    raw = create_file_info("a.bin", chunks, 16_384)
    assert raw == encode(v1)
    assert parse_info(raw).info_hash == bytes.fromhex(vectors["v1_single"]["info_hash"])


def test_hybrid_vector(vectors: dict[str, Any], v2: dict[bytes, Any]) -> None:
    """BEP 52, one file in both forms: our pieces complete the dictionary."""
    pieces = parse_info(create_file_info("a.bin", [CONTENT], 32_768)).pieces
    info = parse_info(encode({**v2, b"length": len(CONTENT), b"pieces": pieces}))
    assert info.info_hash == bytes.fromhex(vectors["hybrid_single"]["info_hash"])
    assert info.info_hash_v2 == bytes.fromhex(vectors["hybrid_single"]["info_hash_v2"])


def test_a_directory_is_one_stream(vectors: dict[str, Any]) -> None:
    """BEP 52, the padded stream of the directory: the hashes of its pieces."""
    files = [
        (["a.bin"], [CONTENT[:20_000]]),
        ([".pad", "12768"], [bytes(12_768)]),
        (["sub", "b.bin"], [CONTENT[:40_000]]),
        ([".pad", "25536"], [bytes(25_536)]),
        (["z.txt"], []),
    ]
    raw = create_directory_info("t", files, 32_768)
    info = parse_info(raw)
    assert is_canonical(raw)
    assert info.pieces.hex() == "".join(vectors["hybrid_directory"]["pieces"])
    assert info.files[2].path == ("t", "sub", "b.bin")


@given(st.lists(st.binary(max_size=40_000), max_size=4), st.sampled_from([16_384, 32_768]))
def test_how_content_is_chunked_does_not_matter(chunks: list[bytes], piece_length: int) -> None:
    content = b"".join(chunks) + b"."
    whole = create_file_info("a", [content], piece_length)
    assert create_file_info("a", [*chunks, b"."], piece_length) == whole
    assert parse_info(whole).total_length == len(content)
