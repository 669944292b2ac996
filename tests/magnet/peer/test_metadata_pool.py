"""The common work on metadata: liars, sleepers and bunglers first, then the plain run."""

import hashlib
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dht.contact import Endpoint, parse_endpoint
from dht.keyspace import InfoHash
from magnet.peer import metadata_pool
from magnet.peer.assembly import HESITATION_S, PIECE_TIMEOUT_S, REFUSAL_S, STALL_S
from magnet.peer.metadata_pool import (
    FAILURES_MAX,
    OUTSTANDING_MAX,
    MetadataPool,
    Standing,
    Verdict,
)
from magnet.peer.ut_metadata import METADATA_SIZE_MAX, MetadataPiece, piece_count, piece_length

ALICE, BOB, CAROL, DAVE, ERIN = (parse_endpoint(f"192.0.2.{number}:6881") for number in range(1, 6))
RAW = bytes(index * 7 % 251 for index in range(40_000))


def pool_for(raw: bytes) -> MetadataPool:
    return MetadataPool(info_hash=InfoHash(hashlib.sha1(raw).digest()))


def piece_of(raw: bytes, piece: int) -> MetadataPiece:
    return MetadataPiece(piece, len(raw), raw[piece * 16384 : (piece + 1) * 16384])


def requests(pool: MetadataPool, peer: Endpoint, now: float = 0.0) -> list[int]:
    pieces = []
    while (piece := pool.next_request(peer, now=now)) is not None:
        pieces.append(piece)
    return pieces


def give(pool: MetadataPool, peer: Endpoint, raw: bytes, now: float = 0.0) -> Verdict | None:
    """Let a peer answer what it is asked for from `raw`, up to a check; return its outcome."""
    while pieces := requests(pool, peer, now):
        for piece in pieces:
            verdict = pool.received(peer, piece_of(raw, piece), now=now)
            if verdict in (Verdict.COMPLETED, Verdict.MISMATCHED):
                return verdict
    return None


def joined(raw: bytes, peers: Iterable[Endpoint], size: int | None = None) -> MetadataPool:
    pool = pool_for(raw)
    for peer in peers:
        assert pool.join(peer, size or len(raw), now=0.0)
    return pool


def test_no_hash_or_one_of_wrong_length_is_our_error() -> None:
    with pytest.raises(ValueError, match="hash"):
        MetadataPool()
    with pytest.raises(ValueError, match="hash"):
        MetadataPool(info_hash=InfoHash(bytes(19)))
    with pytest.raises(ValueError, match="hash"):
        MetadataPool(info_hash_v2=bytes(31))


def test_one_right_hash_of_a_hybrid_is_not_enough() -> None:
    pool = MetadataPool(info_hash=InfoHash(hashlib.sha1(RAW).digest()), info_hash_v2=bytes(32))
    pool.join(ALICE, len(RAW), now=0.0)
    assert give(pool, ALICE, RAW) is Verdict.MISMATCHED


@pytest.mark.parametrize("length", [20, 32])
def test_v2_hash_may_be_truncated(length: int) -> None:
    pool = MetadataPool(info_hash_v2=hashlib.sha256(RAW).digest()[:length])
    pool.join(ALICE, len(RAW), now=0.0)
    assert give(pool, ALICE, RAW) is Verdict.COMPLETED


@pytest.mark.parametrize("size", [-1, 0, METADATA_SIZE_MAX + 1, 2**40])
def test_impossible_size_does_not_join(size: int) -> None:
    assert not pool_for(RAW).join(ALICE, size, now=0.0)


def test_nobody_joins_twice() -> None:
    assert not joined(RAW, [ALICE]).join(ALICE, 5, now=0.0)


def test_strangers_are_asked_nothing_and_believed_nothing() -> None:
    pool = joined(RAW, [ALICE])
    requests(pool, ALICE)
    assert pool.next_request(BOB, now=0.0) is None
    assert pool.received(BOB, piece_of(RAW, 0), now=0.0) is Verdict.IGNORED
    assert pool.standing(BOB, now=0.0) is Standing.ABSENT


@pytest.mark.parametrize("piece", [-1, 2, 3, 2**31])
def test_piece_that_was_not_requested_is_ignored(piece: int) -> None:
    pool = joined(RAW, [ALICE])
    assert requests(pool, ALICE) == [0, 1]
    assert pool.received(ALICE, MetadataPiece(piece, len(RAW), b"x"), now=0.0) is Verdict.IGNORED
    assert pool.buffered_bytes == 0


def test_same_piece_twice_counts_once() -> None:
    pool = joined(RAW, [ALICE])
    requests(pool, ALICE)
    assert pool.received(ALICE, piece_of(RAW, 0), now=0.0) is Verdict.STORED
    assert pool.received(ALICE, piece_of(RAW, 0), now=0.0) is Verdict.IGNORED


@pytest.mark.parametrize("length", [1, 16383, 16385, 30_000])
def test_piece_of_wrong_length_is_spoiled_and_asked_for_elsewhere(length: int) -> None:
    pool = joined(RAW, [ALICE, BOB])
    assert requests(pool, ALICE) == [0, 1]
    spoiled = MetadataPiece(0, len(RAW), bytes(length))
    assert pool.received(ALICE, spoiled, now=0.0) is Verdict.SPOILED
    assert pool.buffered_bytes == 0
    assert 0 not in requests(pool, ALICE)
    assert 0 in requests(pool, BOB)


def test_one_spoiled_piece_is_forgiven_three_are_not() -> None:
    pool = joined(RAW, [ALICE])
    for piece in range(FAILURES_MAX):
        assert pool.standing(ALICE, now=0.0) is Standing.USEFUL
        requests(pool, ALICE)
        spoiled = MetadataPiece(piece, len(RAW), b"x")
        assert pool.received(ALICE, spoiled, now=0.0) is Verdict.SPOILED
    assert pool.standing(ALICE, now=0.0) is Standing.FAULTY


def test_wrong_total_size_spoils_a_piece() -> None:
    pool = joined(RAW, [ALICE])
    requests(pool, ALICE)
    message = MetadataPiece(0, 12345, RAW[:16384])
    assert pool.received(ALICE, message, now=0.0) is Verdict.SPOILED


@pytest.mark.parametrize("total_size", [None, 16384, len(RAW)])
def test_absent_total_size_or_that_of_the_block_is_overlooked(total_size: int | None) -> None:
    pool = joined(RAW, [ALICE])
    requests(pool, ALICE)
    message = MetadataPiece(0, total_size, RAW[:16384])
    assert pool.received(ALICE, message, now=0.0) is Verdict.STORED


def test_empty_last_piece_is_no_piece_but_no_crime_either() -> None:
    raw = RAW[:32768]
    pool = joined(raw, [ALICE, BOB])
    requests(pool, ALICE)
    for _ in range(FAILURES_MAX + 1):
        pool.received(ALICE, MetadataPiece(1, len(raw), b""), now=0.0)
    assert pool.received(ALICE, piece_of(raw, 0), now=0.0) is Verdict.STORED
    assert pool.standing(ALICE, now=0.0) is Standing.REFUSING
    assert give(pool, BOB, raw) is Verdict.COMPLETED


def test_rejected_piece_is_asked_for_elsewhere_and_later_again() -> None:
    pool = joined(RAW, [ALICE, BOB])
    requests(pool, ALICE)
    pool.rejected(ALICE, 0, now=5.0)
    assert 0 not in requests(pool, ALICE, now=5.0 + REFUSAL_S - 0.1)
    assert 0 in requests(pool, BOB, now=5.0)
    pool.leave(BOB)
    assert 0 in requests(pool, ALICE, now=5.0 + REFUSAL_S + 20)


def test_rejection_of_what_was_not_requested_is_ignored() -> None:
    pool = joined(RAW, [ALICE])
    for piece in (-1, 0, 1, 2, 3):
        pool.rejected(ALICE, piece, now=0.0)
    pool.rejected(BOB, 0, now=0.0)
    assert pool.standing(ALICE, now=0.0) is Standing.USEFUL
    assert requests(pool, ALICE) == [0, 1]


def test_who_rejects_everything_is_refusing() -> None:
    pool = joined(RAW, [ALICE])
    while pieces := requests(pool, ALICE):
        for piece in pieces:
            pool.rejected(ALICE, piece, now=0.0)
    assert pool.standing(ALICE, now=0.0) is Standing.REFUSING
    assert pool.standing(ALICE, now=REFUSAL_S) is Standing.USEFUL


def test_sleeper_frees_its_pieces_after_the_timeout_and_leaves_after_the_stall() -> None:
    raw = RAW[:1000]
    pool = joined(raw, [ALICE])
    assert requests(pool, ALICE) == [0]
    assert requests(pool, ALICE, now=PIECE_TIMEOUT_S - 0.1) == []
    assert requests(pool, ALICE, now=PIECE_TIMEOUT_S) == [0]
    assert pool.standing(ALICE, now=STALL_S - 0.1) is Standing.USEFUL
    assert pool.standing(ALICE, now=STALL_S) is Standing.STALLED


def test_late_piece_is_welcome() -> None:
    pool = joined(RAW, [ALICE])
    requests(pool, ALICE)
    requests(pool, ALICE, now=PIECE_TIMEOUT_S)
    now = PIECE_TIMEOUT_S + 1
    assert pool.received(ALICE, piece_of(RAW, 0), now=now) is Verdict.STORED
    assert pool.standing(ALICE, now=now + STALL_S - 0.1) is Standing.USEFUL


def test_who_owes_nothing_never_stalls() -> None:
    pool = joined(RAW, [ALICE])
    assert pool.standing(ALICE, now=10 * STALL_S) is Standing.USEFUL
    requests(pool, ALICE, now=10 * STALL_S)
    assert pool.standing(ALICE, now=10 * STALL_S + 1) is Standing.USEFUL


def test_lone_liar_is_known_at_once_and_stays_out() -> None:
    pool = joined(RAW, [ALICE, BOB])
    assert give(pool, ALICE, b"\xff" + RAW[1:]) is Verdict.MISMATCHED
    assert pool.liars == {ALICE}
    assert pool.standing(ALICE, now=0.0) is Standing.LIAR
    assert not pool.join(ALICE, len(RAW), now=0.0)
    assert give(pool, BOB, RAW) is Verdict.COMPLETED


def test_liar_among_three_costs_only_itself() -> None:
    pool = joined(RAW, [ALICE, BOB, CAROL])
    false = RAW[:-1] + b"\xff"
    for peer, raw in ((ALICE, RAW), (BOB, false), (CAROL, RAW)):
        for piece in requests(pool, peer)[:1]:
            verdict = pool.received(peer, piece_of(raw, piece), now=0.0)
    assert verdict is Verdict.MISMATCHED
    assert pool.liars == set()
    assert give(pool, BOB, false) is Verdict.MISMATCHED
    assert pool.liars == {BOB}
    assert give(pool, CAROL, RAW) is Verdict.COMPLETED
    assert pool.metadata == RAW


def test_after_a_common_failure_pieces_never_mix() -> None:
    pool = joined(RAW, [ALICE, BOB])
    false = b"\xff" * len(RAW)
    pool.received(ALICE, piece_of(false, requests(pool, ALICE)[0]), now=0.0)
    assert give(pool, BOB, RAW) is Verdict.MISMATCHED
    mine, yours = requests(pool, ALICE), requests(pool, BOB)
    assert mine == yours == [0, 1]
    pool.received(ALICE, piece_of(false, 0), now=0.0)
    assert give(pool, BOB, RAW) is None
    for piece in yours:
        pool.received(BOB, piece_of(RAW, piece), now=0.0)
    assert give(pool, BOB, RAW) is Verdict.COMPLETED


def test_sleepers_who_work_alone_lose_their_places() -> None:
    raw = bytes(1_000_000)
    peers = [ALICE, BOB, CAROL, DAVE]
    pool = joined(raw, peers)
    false = b"\xff" * len(raw)
    pool.received(ALICE, piece_of(false, requests(pool, ALICE)[0]), now=0.0)
    assert give(pool, DAVE, raw) is Verdict.MISMATCHED
    for sleeper in (ALICE, BOB, CAROL):
        assert requests(pool, sleeper)
    assert requests(pool, DAVE, now=STALL_S - 1) == []
    assert pool.standing(DAVE, now=STALL_S - 1) is Standing.USEFUL
    assert give(pool, DAVE, raw, now=STALL_S) is Verdict.COMPLETED


def test_late_piece_of_who_lost_its_place_is_ignored() -> None:
    pool = joined(RAW, [ALICE, BOB])
    false = b"\xff" * len(RAW)
    pool.received(ALICE, piece_of(false, requests(pool, ALICE)[0]), now=0.0)
    assert give(pool, BOB, RAW) is Verdict.MISMATCHED
    requests(pool, ALICE)
    requests(pool, BOB, now=STALL_S)
    assert pool.received(ALICE, piece_of(RAW, 0), now=STALL_S) is Verdict.IGNORED


def test_failure_at_one_size_leaves_the_others_their_requests() -> None:
    pool = joined(RAW, [ALICE, BOB])
    pool.join(CAROL, 17_000, now=0.0)
    requests(pool, CAROL)
    pool.received(ALICE, piece_of(bytes(len(RAW)), requests(pool, ALICE)[0]), now=0.0)
    assert give(pool, BOB, RAW) is Verdict.MISMATCHED
    message = MetadataPiece(0, 17_000, bytes(16384))
    assert pool.received(CAROL, message, now=0.0) is Verdict.STORED


def test_peers_of_different_sizes_never_mix() -> None:
    pool = joined(RAW, [ALICE])
    assert pool.join(BOB, 20_000, now=0.0)
    assert requests(pool, ALICE) == requests(pool, BOB) == [0, 1]
    pool.received(BOB, MetadataPiece(0, 20_000, bytes(16384)), now=0.0)
    pool.received(ALICE, piece_of(RAW, 0), now=0.0)
    pool.received(ALICE, piece_of(RAW, 1), now=0.0)
    assert give(pool, ALICE, RAW) is Verdict.COMPLETED


def test_claim_that_never_delivers_takes_no_memory() -> None:
    pool = joined(RAW, [ALICE], size=METADATA_SIZE_MAX)
    assert len(requests(pool, ALICE)) == OUTSTANDING_MAX
    assert pool.buffered_bytes == 0
    assert pool.progress() == (0, 2048)


def test_large_claims_give_way_to_small_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    bound, claim = 200_000, 150_000
    monkeypatch.setattr(metadata_pool, "BUFFERED_BYTES_MAX", bound)
    liars = [parse_endpoint(f"198.51.100.{number}:6881") for number in range(1, 4)]
    pool = joined(RAW, [ALICE])
    assert requests(pool, ALICE) == [0, 1]
    pool.received(ALICE, piece_of(RAW, 0), now=0.0)
    for number, liar in enumerate(liars):
        size = claim - number
        pool.join(liar, size, now=0.0)
        for _ in range(piece_count(size) - 1):
            piece = pool.next_request(liar, now=0.0)
            assert piece is not None
            data = bytes(piece_length(size, piece))
            pool.received(liar, MetadataPiece(piece, size, data), now=0.0)
            assert pool.buffered_bytes <= bound
    pool.received(ALICE, piece_of(RAW, 1), now=0.0)
    assert give(pool, ALICE, RAW) is Verdict.COMPLETED


def test_what_a_leaver_gave_stays_and_what_it_owed_is_free() -> None:
    pool = joined(RAW, [ALICE, BOB])
    assert requests(pool, ALICE) == [0, 1]
    pool.received(ALICE, piece_of(RAW, 0), now=0.0)
    pool.leave(ALICE)
    assert requests(pool, BOB) == [1, 2]
    pool.leave(ALICE)
    assert pool.progress() == (1, 3)


def test_when_all_have_left_nothing_is_kept() -> None:
    pool = joined(RAW, [ALICE])
    pool.received(ALICE, piece_of(RAW, requests(pool, ALICE)[0]), now=0.0)
    pool.leave(ALICE)
    assert pool.buffered_bytes == 0
    assert pool.progress() == (0, 0)


def test_everyone_may_leave_after_completion() -> None:
    pool = joined(RAW, [ALICE, BOB])
    give(pool, ALICE, RAW)
    pool.leave(ALICE)
    pool.leave(BOB)
    assert pool.metadata == RAW


def test_pieces_are_spread_before_they_are_doubled() -> None:
    pool = joined(RAW, [ALICE, BOB, CAROL, DAVE, ERIN])
    assert [requests(pool, peer) for peer in (ALICE, BOB, CAROL, DAVE, ERIN)] == [
        [0, 1],
        [2, 0],
        [1, 2],
        [0, 1],
        [2],
    ]


def test_nothing_is_requested_after_completion() -> None:
    pool = joined(RAW, [ALICE, BOB])
    requests(pool, BOB)
    assert give(pool, ALICE, RAW) is Verdict.COMPLETED
    assert pool.next_request(BOB, now=0.0) is None
    assert pool.received(BOB, piece_of(RAW, 0), now=0.0) is Verdict.IGNORED


@pytest.mark.parametrize("size", [1, 16383, 16384, 16385, 32768, 40_000])
def test_one_honest_peer_is_enough(size: int) -> None:
    raw = RAW[:size]
    pool = joined(raw, [ALICE])
    assert give(pool, ALICE, raw) is Verdict.COMPLETED
    assert pool.metadata == raw


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_whatever_three_peers_do_an_honest_fourth_brings_it_home(data: st.DataObject) -> None:
    pool = joined(RAW, [ALICE, BOB, CAROL])
    now = 0.0
    for _ in range(data.draw(st.integers(0, 30))):
        peer = data.draw(st.sampled_from([ALICE, BOB, CAROL]))
        now += data.draw(st.floats(0, 20))
        match data.draw(st.integers(0, 4)):
            case 0:
                pool.next_request(peer, now=now)
            case 1:
                content = data.draw(st.sampled_from([RAW, bytes(len(RAW)), RAW[:17_000]]))
                piece = data.draw(st.integers(-1, 3))
                pool.received(peer, piece_of(content, piece), now=now)
            case 2:
                pool.rejected(peer, data.draw(st.integers(-1, 3)), now=now)
            case 3:
                pool.leave(peer)
            case 4:
                pool.join(peer, data.draw(st.sampled_from([len(RAW), 17_000])), now=now)
        pool.standing(peer, now=now)
    pool.join(DAVE, len(RAW), now=now)
    for _ in range(5):
        now += STALL_S
        give(pool, DAVE, RAW, now)
    assert pool.metadata == RAW
    assert DAVE not in pool.liars


# News


def test_sleepers_hold_up_an_honest_peer_for_a_moment_only() -> None:
    pool = joined(RAW, [ALICE, BOB, CAROL, DAVE, ERIN])
    for peer in (ALICE, BOB, CAROL, DAVE):
        requests(pool, peer)
    assert requests(pool, ERIN) == [2]
    assert pool.received(ERIN, piece_of(RAW, 2), now=0.5) is Verdict.STORED
    assert requests(pool, ERIN, now=0.5) == []
    assert pool.next_deadline(now=0.5) == HESITATION_S
    assert give(pool, ERIN, RAW, now=HESITATION_S) is Verdict.COMPLETED


def test_whoever_has_nothing_to_do_is_woken_once_by_whoever_leaves() -> None:
    pool = joined(RAW, [ALICE, BOB])
    woken: list[Endpoint] = []
    requests(pool, ALICE)
    pool.wait_for_news(BOB, lambda: woken.append(BOB))
    assert woken == []
    pool.leave(ALICE)
    assert woken == [BOB]
    pool.rejected(BOB, 0, now=0.0)
    assert woken == [BOB]


def test_rejection_is_news_for_the_others() -> None:
    pool = joined(RAW, [ALICE, BOB])
    woken: list[Endpoint] = []
    (piece, _) = requests(pool, ALICE)
    pool.wait_for_news(BOB, lambda: woken.append(BOB))
    pool.rejected(ALICE, piece, now=0.0)
    assert woken == [BOB]


def test_completion_wakes_everybody_at_once_and_whoever_comes_later() -> None:
    pool = joined(RAW, [ALICE, BOB, CAROL])
    woken: list[Endpoint] = []
    for peer in (BOB, CAROL):
        pool.wait_for_news(peer, lambda peer=peer: woken.append(peer))  # type: ignore[misc]
    assert give(pool, ALICE, RAW) is Verdict.COMPLETED
    assert woken == [BOB, CAROL]
    pool.wait_for_news(ALICE, lambda: woken.append(ALICE))
    assert woken[-1] == ALICE


def test_stranger_is_not_woken() -> None:
    pool = joined(RAW, [ALICE])
    pool.wait_for_news(BOB, pytest.fail)
    pool.leave(ALICE)


def test_deadlines_that_have_passed_are_none() -> None:
    pool = joined(RAW, [ALICE])
    assert pool.next_deadline(now=0.0) == float("inf")
    requests(pool, ALICE)
    for deadline in (HESITATION_S, PIECE_TIMEOUT_S, STALL_S):
        assert pool.next_deadline(now=deadline - 0.5) == deadline
        pool.next_request(BOB, now=deadline)
    assert pool.next_deadline(now=STALL_S) == float("inf")


def test_whole_from_elsewhere_is_taken_if_its_hash_is_right() -> None:
    pool = joined(RAW, [ALICE])
    woken: list[Endpoint] = []
    pool.wait_for_news(ALICE, lambda: woken.append(ALICE))
    assert not pool.offer(RAW[:-1])
    assert woken == []
    assert pool.offer(RAW)
    assert pool.metadata == RAW
    assert woken == [ALICE]
    assert pool.offer(RAW)
    assert not pool.offer(b"")
