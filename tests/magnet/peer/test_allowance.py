"""What the pools of many links hold together: crowds of liars first."""

import hashlib

import pytest

from dht.contact import Endpoint, parse_endpoint
from dht.keyspace import InfoHash
from magnet.peer import allowance as allowance_module
from magnet.peer.allowance import (
    BUFFERED_BYTES_SPARED,
    BUFFERED_BYTES_TOTAL_MAX,
    Allowance,
)
from magnet.peer.metadata_pool import MetadataPool, Verdict
from magnet.peer.ut_metadata import (
    METADATA_PIECE_BYTES,
    METADATA_SIZE_MAX,
    MetadataPiece,
    piece_length,
)

PEER = parse_endpoint("192.0.2.1:6881")
LIAR = parse_endpoint("198.51.100.1:6881")
RAW = bytes(index * 7 % 251 for index in range(40_000))
CLAIM = 150_000
BOUND = 400_000


@pytest.fixture
def allowance(monkeypatch: pytest.MonkeyPatch) -> Allowance:
    monkeypatch.setattr(allowance_module, "BUFFERED_BYTES_TOTAL_MAX", BOUND)
    monkeypatch.setattr(allowance_module, "BUFFERED_BYTES_SPARED", len(RAW))
    return Allowance()


def pool_of(allowance: Allowance, peer: Endpoint, size: int) -> MetadataPool:
    pool = MetadataPool(info_hash=InfoHash(hashlib.sha1(RAW).digest()), allowance=allowance)
    assert pool.join(peer, size, now=0.0)
    return pool


def give(pool: MetadataPool, peer: Endpoint, size: int, count: int = 1) -> Verdict | None:
    """Let a peer give up to so many pieces of metadata of that size; return what became of them."""
    verdict = None
    for _ in range(count):
        piece = pool.next_request(peer, now=0.0)
        if piece is None:
            break
        start = piece * METADATA_PIECE_BYTES
        data = RAW[start : start + METADATA_PIECE_BYTES]
        if size != len(RAW):
            data = bytes(piece_length(size, piece))
        verdict = pool.received(peer, MetadataPiece(piece, size, data), now=0.0)
    return verdict


def test_many_large_claims_take_no_more_than_the_bound(allowance: Allowance) -> None:
    pools = [pool_of(allowance, LIAR, CLAIM) for _ in range(50)]
    for _ in range(9):  # All but the last piece.
        for pool in pools:
            give(pool, LIAR, CLAIM)
            assert allowance.held_bytes == sum(it.buffered_bytes for it in pools)
            small = len(pools) * len(RAW)
            assert allowance.held_bytes <= max(BOUND, small) + METADATA_PIECE_BYTES


def test_small_metadata_is_spared(allowance: Allowance) -> None:
    honest = pool_of(allowance, PEER, len(RAW))
    give(honest, PEER, len(RAW), 2)
    for _ in range(20):
        give(pool_of(allowance, LIAR, CLAIM), LIAR, CLAIM, 9)
    assert allowance.held_bytes > BOUND - CLAIM
    assert give(honest, PEER, len(RAW)) is Verdict.COMPLETED


def test_what_is_most_advanced_comes_to_its_end(allowance: Allowance) -> None:
    pools = [pool_of(allowance, LIAR, CLAIM) for _ in range(10)]
    give(pools[0], LIAR, CLAIM, 5)
    for pool in pools[1:]:
        give(pool, LIAR, CLAIM, 4)
    assert give(pools[0], LIAR, CLAIM, 5) is Verdict.MISMATCHED


def test_who_waits_is_woken_when_pieces_are_dropped(allowance: Allowance) -> None:
    woken: list[str] = []
    pool = pool_of(allowance, LIAR, CLAIM)
    give(pool, LIAR, CLAIM, 4)
    pool.wait_for_news(LIAR, lambda: woken.append("dropped"))
    for _ in range(5):
        give(pool_of(allowance, LIAR, CLAIM), LIAR, CLAIM, 6)
    assert woken == ["dropped"]
    assert pool.progress() == (0, 10)


@pytest.mark.parametrize("how", ["leave", "close"])
def test_whoever_ends_holds_nothing(allowance: Allowance, how: str) -> None:
    pool = pool_of(allowance, LIAR, CLAIM)
    give(pool, LIAR, CLAIM, 5)
    assert allowance.held_bytes > 0
    if how == "leave":
        pool.leave(LIAR)
    else:
        pool.close()
    assert allowance.held_bytes == pool.buffered_bytes == 0
    pool.leave(LIAR)


def test_bounds_leave_room_for_the_largest() -> None:
    assert BUFFERED_BYTES_TOTAL_MAX >= 2 * METADATA_SIZE_MAX
    assert BUFFERED_BYTES_SPARED >= 100_000
