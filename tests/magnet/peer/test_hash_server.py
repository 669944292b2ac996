"""What the hash server refuses, then what it gives."""

import hashlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dht.bencode import BValue, encode
from magnet.metainfo.merkle import HASH_BYTES, HashTree
from magnet.metainfo.torrent import build_torrent, parse_torrent
from magnet.peer.hash_server import LENGTH_MAX, NO_HASHES, SERVINGS_MAX, HashServer
from magnet.peer.hashes import are_proven, layer_ranges, uncle_count
from magnet.peer.wire import Hashes, HashRange, HashReject

PIECE_LENGTH = 32_768
PIECES = 700
LAYER = b"".join(hashlib.sha256(b"%d" % index).digest() for index in range(PIECES))
TREE = HashTree(LAYER, height=1)
SERVER = HashServer({TREE.root: LAYER}, PIECE_LENGTH)
RANGES = list(layer_ranges(TREE.root, PIECES, PIECE_LENGTH))
WANTED = RANGES[0]

INTEGERS = st.integers(0, 2**32 - 1) | st.integers(0, 2_000)


@pytest.mark.parametrize(
    "wanted",
    [
        replace(WANTED, pieces_root=bytes(32)),
        replace(WANTED, base_layer=0),  # leaves take the content
        replace(WANTED, base_layer=TREE.height, length=1, proof_layers=0),
        replace(WANTED, length=0),
        replace(WANTED, length=3),
        replace(WANTED, length=2_048),  # more than the layer has, padding included
        replace(WANTED, length=2 * LENGTH_MAX),
        replace(WANTED, index=256),
        replace(WANTED, index=1_024),
        replace(WANTED, index=2**32 - 512),
        replace(WANTED, proof_layers=10),
        replace(WANTED, proof_layers=2**32 - 1),
    ],
    ids=lambda it: f"{it.base_layer}-{it.index}-{it.length}-{it.proof_layers}",
)
def test_what_is_not_there_is_rejected(wanted: HashRange) -> None:
    session = SERVER.open_session()
    assert session.answer(wanted) == HashReject(wanted)
    assert (session.served, session.rejected) == (0, 1)


def test_nothing_is_known_of_nothing() -> None:
    assert NO_HASHES.open_session().answer(WANTED) == HashReject(WANTED)


def test_who_has_drawn_all_three_times_is_rejected() -> None:
    session = SERVER.open_session()
    answers = [session.answer(wanted) for _ in range(2 * SERVINGS_MAX) for wanted in RANGES]
    given_away = [it for it in answers if isinstance(it, Hashes)]
    assert sum(it.range.length for it in given_away) <= SERVINGS_MAX * PIECES
    assert len(given_away) >= SERVINGS_MAX
    assert session.rejected == len(answers) - len(given_away)
    assert isinstance(SERVER.open_session().answer(WANTED), Hashes)


@given(base=INTEGERS, index=INTEGERS, length=INTEGERS, proof=INTEGERS)
def test_any_request_has_an_answer_of_bounded_size(
    base: int, index: int, length: int, proof: int
) -> None:
    wanted = HashRange(TREE.root, base, index, length, proof)
    answer = SERVER.open_session().answer(wanted)
    assert answer.range == wanted
    if isinstance(answer, Hashes):
        assert len(answer.hashes) == (length + uncle_count(wanted)) * HASH_BYTES
        assert length <= LENGTH_MAX


def test_whole_layer_is_given_and_proven() -> None:
    session = SERVER.open_session()
    answers = [session.answer(wanted) for wanted in RANGES]
    hashes = [it for it in answers if isinstance(it, Hashes) and are_proven(it)]
    assert len(hashes) == len(RANGES)
    assert b"".join(it.hashes[: it.range.length * HASH_BYTES] for it in hashes).startswith(LAYER)
    assert (session.served, session.rejected) == (len(RANGES), 0)


def test_layers_of_a_torrent_file_are_given() -> None:
    file: dict[bytes, BValue] = {b"length": PIECES * PIECE_LENGTH, b"pieces root": TREE.root}
    info: dict[bytes, BValue] = {
        b"file tree": {b"a": {b"": file}},
        b"meta version": 2,
        b"name": b"a",
        b"piece length": PIECE_LENGTH,
    }
    torrent = parse_torrent(build_torrent(encode(info), piece_layers={TREE.root: LAYER}))
    assert torrent.warnings == ()
    answer = HashServer.of(torrent).open_session().answer(WANTED)
    assert answer == SERVER.open_session().answer(WANTED)
    assert parse_torrent(build_torrent(encode(info))).warnings == ("piece layers are missing",)


def test_single_hash_has_its_sibling_as_first_uncle() -> None:
    """libtorrent asks for one at the end of a file, and counts uncles as BEP 52 does."""
    wanted = HashRange(TREE.root, 1, 512, 1, 9)
    answer = SERVER.open_session().answer(wanted)
    assert isinstance(answer, Hashes)
    assert answer.hashes[HASH_BYTES : 2 * HASH_BYTES] == TREE.run(1, 513, 1)
    assert len(answer.hashes) == 11 * HASH_BYTES
    assert are_proven(answer)


def test_levels_above_the_pieces_are_given_too() -> None:
    wanted = HashRange(TREE.root, 3, 0, 4, TREE.height - 4)
    answer = SERVER.open_session().answer(wanted)
    assert isinstance(answer, Hashes)
    assert are_proven(answer)
