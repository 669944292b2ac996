"""The pool of piece layers: liars, refusers and sleepers first, then common work."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dht.bencode import BValue, encode
from dht.contact import Endpoint, parse_endpoint
from dht.keyspace import InfoHash
from magnet.errors import InvalidMetainfo
from magnet.metainfo.info import parse_info
from magnet.metainfo.merkle import HASH_BYTES, HashTree
from magnet.peer.hash_server import HashServer, HashSession
from magnet.peer.layer_pool import (
    ASKED_AT_ONCE_MAX,
    LAYERS_BYTES_MAX,
    OUTSTANDING_MAX,
    REJECTS_MAX,
    REQUEST_TIMEOUT_S,
    STALL_S,
    UNASKED_MAX,
    LayerPool,
)
from magnet.peer.metadata_pool import Standing
from magnet.peer.wire import Hashes, HashRange

PIECE_LENGTH = 16_384
KEY = InfoHash(b"k" * 20)
ALICE, BOB, CAROL = (parse_endpoint(f"192.0.2.{number}:6881") for number in (1, 2, 3))
T0 = 1_000.0


def layer(pieces: int, seed: bytes = b"") -> bytes:
    return b"".join(hashlib.sha256(b"%s%d" % (seed, i)).digest() for i in range(pieces))


LAYERS = {HashTree(one).root: one for one in (layer(1_300), layer(2), layer(77))}
FILES = {root: len(one) // HASH_BYTES for root, one in LAYERS.items()}
MANY = {HashTree(one).root: one for one in (layer(3, b"%d-" % seed) for seed in range(100))}


def pool_of(layers: dict[bytes, bytes]) -> LayerPool:
    files = {root: len(one) // HASH_BYTES for root, one in layers.items()}
    return LayerPool(KEY, files, PIECE_LENGTH)


def joined(*peers: Endpoint, layers: dict[bytes, bytes] = LAYERS) -> LayerPool:
    pool = pool_of(layers)
    for peer in peers:
        assert pool.join(peer, now=T0)
    return pool


def session(layers: dict[bytes, bytes] = LAYERS) -> HashSession:
    return HashServer(layers, PIECE_LENGTH).open_session()


def requests(pool: LayerPool, peer: Endpoint, *, now: float = T0) -> list[HashRange]:
    asked = []
    while (wanted := pool.next_request(peer, now=now)) is not None:
        asked.append(wanted)
    return asked


def serve(
    pool: LayerPool, peer: Endpoint, source: HashSession, *, now: float = T0, most: int = 10_000
) -> int:
    """Let a peer answer what it is asked, again and again; return how many answers it gave."""
    answered = 0
    while answered < most and (wanted := pool.next_request(peer, now=now)) is not None:
        reply = source.answer(wanted)
        if isinstance(reply, Hashes):
            pool.received(peer, reply, now=now)
        else:
            pool.rejected(peer, wanted)
        answered += 1
    return answered


def false(wanted: HashRange) -> Hashes:
    true = session().answer(wanted)
    assert isinstance(true, Hashes)
    return replace(true, hashes=true.hashes[:-1] + bytes([true.hashes[-1] ^ 1]))


def test_liar_is_out_at_once_and_its_work_is_done_by_others() -> None:
    pool = joined(ALICE, BOB)
    lied_about = requests(pool, ALICE)[0]
    assert not pool.received(ALICE, false(lied_about), now=T0)
    assert pool.liars == {ALICE}
    assert pool.standing(ALICE, now=T0) is Standing.LIAR
    assert pool.next_request(ALICE, now=T0) is None
    assert not pool.join(ALICE, now=T0)
    serve(pool, BOB, session())
    assert pool.layers() == LAYERS


def test_liar_loses_nothing_that_it_gave_before() -> None:
    pool = joined(ALICE)
    first, second, *_ = requests(pool, ALICE)
    honest = session().answer(first)
    assert isinstance(honest, Hashes)
    assert pool.received(ALICE, honest, now=T0)
    pool.received(ALICE, false(second), now=T0)
    assert pool.progress()[0] == 1


@pytest.mark.parametrize("change", [{"index": 512}, {"length": 256}, {"proof_layers": 3}])
def test_answer_to_something_else_is_no_answer(change: dict[str, Any]) -> None:
    pool = joined(ALICE)
    wanted = pool.next_request(ALICE, now=T0)
    assert wanted is not None
    reply = session().answer(wanted)
    assert isinstance(reply, Hashes)
    assert not pool.received(ALICE, replace(reply, range=replace(wanted, **change)), now=T0)
    assert pool.progress()[0] == 0
    assert pool.liars == frozenset()


def test_who_answers_unasked_is_given_up() -> None:
    pool = joined(ALICE, BOB)
    (wanted, *_) = requests(pool, BOB)
    reply = session().answer(wanted)
    assert isinstance(reply, Hashes)
    for _ in range(UNASKED_MAX):
        assert pool.standing(ALICE, now=T0) is Standing.USEFUL
        assert not pool.received(ALICE, reply, now=T0)
    assert pool.standing(ALICE, now=T0) is Standing.FAULTY


def test_strangers_change_nothing() -> None:
    pool = pool_of(LAYERS)
    assert pool.next_request(ALICE, now=T0) is None
    assert pool.standing(ALICE, now=T0) is Standing.ABSENT
    pool.rejected(ALICE, HashRange(b"r" * 32, 0, 0, 2, 0))
    assert not pool.received(ALICE, Hashes(HashRange(b"r" * 32, 0, 0, 2, 0), b""), now=T0)
    pool.wait_for_news(ALICE, lambda: pytest.fail("a stranger was woken"))
    pool.leave(ALICE)
    assert pool.progress() == (0, 5)


def test_nobody_joins_twice() -> None:
    assert not joined(ALICE).join(ALICE, now=T0)


def test_who_rejects_everything_is_done_and_others_are_asked() -> None:
    pool = joined(ALICE, BOB)
    for wanted in requests(pool, ALICE):
        pool.rejected(ALICE, wanted)
    assert pool.next_request(ALICE, now=T0) is None
    assert pool.standing(ALICE, now=T0) is Standing.REFUSING
    serve(pool, BOB, session())
    assert pool.is_complete


def test_who_rejects_on_and_on_is_given_up() -> None:
    pool = joined(ALICE, layers=MANY)
    for _ in range(REJECTS_MAX):
        assert pool.standing(ALICE, now=T0) is Standing.USEFUL
        wanted = pool.next_request(ALICE, now=T0)
        assert wanted is not None
        pool.rejected(ALICE, wanted)
    assert pool.standing(ALICE, now=T0) is Standing.REFUSING


def test_who_knows_some_files_gives_those() -> None:
    root, *_ = LAYERS
    pool = joined(ALICE)
    serve(pool, ALICE, session({root: LAYERS[root]}))
    assert pool.standing(ALICE, now=T0) is Standing.REFUSING
    assert pool.layers() == {root: LAYERS[root]}
    assert not pool.is_complete


def test_sleeper_is_replaced_then_given_up() -> None:
    pool = joined(ALICE, BOB, layers=MANY)
    slept_on = requests(pool, ALICE)
    assert pool.next_deadline(BOB) == T0 + REQUEST_TIMEOUT_S
    late = T0 + REQUEST_TIMEOUT_S
    instead = requests(pool, BOB, now=late)
    assert set(instead) == set(slept_on)
    source = session(MANY)
    for wanted in instead:
        reply = source.answer(wanted)
        assert isinstance(reply, Hashes)
        assert pool.received(BOB, reply, now=late)
    assert pool.standing(ALICE, now=late) is Standing.USEFUL
    assert pool.next_request(ALICE, now=late) is None
    assert pool.standing(ALICE, now=T0 + STALL_S) is Standing.STALLED


def test_late_answer_is_taken() -> None:
    pool = joined(ALICE)
    asked = requests(pool, ALICE)
    late = T0 + REQUEST_TIMEOUT_S
    assert pool.next_request(ALICE, now=late) is None
    source = session()
    for wanted in asked:
        reply = source.answer(wanted)
        assert isinstance(reply, Hashes)
        assert pool.received(ALICE, reply, now=late)
    assert pool.layers() == LAYERS


def test_dribble_keeps_its_place_but_holds_up_nobody() -> None:
    pool = joined(ALICE, BOB, layers=MANY)
    source = session(MANY)
    now = T0
    (wanted, *_) = requests(pool, ALICE)
    for _ in range(3):
        now += STALL_S - 1
        reply = source.answer(wanted)
        assert isinstance(reply, Hashes)
        pool.received(ALICE, reply, now=now)
        assert pool.standing(ALICE, now=now) is Standing.USEFUL
        wanted = next(iter(requests(pool, ALICE, now=now)))
    serve(pool, BOB, session(MANY), now=now + REQUEST_TIMEOUT_S)
    assert pool.is_complete


def test_who_leaves_gives_its_work_back_and_what_it_gave_stays() -> None:
    pool = joined(ALICE, BOB)
    serve(pool, ALICE, session(), most=2)
    requests(pool, ALICE)
    pool.leave(ALICE)
    assert pool.progress() == (2, 5)
    assert len(requests(pool, BOB)) == 3


def test_layers_that_are_too_much(v2_of: Callable[[int], bytes]) -> None:
    pieces = LAYERS_BYTES_MAX // HASH_BYTES
    assert LayerPool.of(parse_info(v2_of(pieces * PIECE_LENGTH))) is not None
    with pytest.raises(InvalidMetainfo, match="too-large"):
        LayerPool.of(parse_info(v2_of(pieces * PIECE_LENGTH + 1)))


@pytest.fixture
def v2_of() -> Callable[[int], bytes]:
    def make(length: int) -> bytes:
        file: dict[bytes, BValue] = {b"length": length, b"pieces root": b"r" * 32}
        raw: dict[bytes, BValue] = {
            b"file tree": {b"a": {b"": file}},
            b"meta version": 2,
            b"name": b"a",
        }
        return encode({**raw, b"piece length": PIECE_LENGTH})

    return make


def test_pool_of_a_torrent(v2_of: Callable[[int], bytes]) -> None:
    info = parse_info(v2_of(3 * PIECE_LENGTH))
    assert info.info_hash_v2 is not None
    pool = LayerPool.of(info)
    assert pool is not None
    assert pool.info_hash == info.info_hash_v2[:20]
    assert pool.progress() == (0, 1)
    small = LayerPool.of(parse_info(v2_of(PIECE_LENGTH)))
    assert small is not None
    assert small.is_complete
    v1: dict[bytes, BValue] = {
        b"length": 1,
        b"name": b"a",
        b"piece length": PIECE_LENGTH,
        b"pieces": b"h" * 20,
    }
    assert LayerPool.of(parse_info(encode(v1))) is None


def test_what_others_bring_is_taken_unhashed_as_far_as_it_is_missing() -> None:
    pool = joined(ALICE)
    asked = requests(pool, ALICE)
    first, *_ = LAYERS
    pool.offer({first: LAYERS[first]})
    assert pool.layers() == {first: LAYERS[first]}
    reply = session().answer(asked[0])
    assert isinstance(reply, Hashes)
    assert not pool.received(ALICE, reply, now=T0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hashlib, "sha256", None)
        pool.offer({**LAYERS, b"x" * 32: b""})
    assert pool.layers() == LAYERS
    assert pool.is_complete


def test_one_peer_is_asked_for_so_much_at_once() -> None:
    pool = joined(ALICE, layers=MANY)
    assert len(requests(pool, ALICE)) == OUTSTANDING_MAX


def test_work_is_shared_and_in_the_end_done_twice() -> None:
    pool = joined(ALICE, BOB, CAROL)
    first, second, third = (requests(pool, peer) for peer in (ALICE, BOB, CAROL))
    assert len(first) == 5
    assert set(first) == set(second)
    assert ASKED_AT_ONCE_MAX == 2
    assert third == []


def test_who_waits_is_woken() -> None:
    pool = joined(ALICE, BOB, CAROL)
    woken: list[str] = []
    (wanted, *_) = requests(pool, ALICE)
    requests(pool, BOB)
    pool.wait_for_news(CAROL, lambda: woken.append("left"))
    pool.leave(BOB)
    assert woken == ["left"]
    assert wanted in requests(pool, CAROL)
    pool.wait_for_news(ALICE, lambda: woken.append("never"))
    pool.wait_for_news(ALICE, lambda: woken.append("rejected"))
    pool.rejected(CAROL, wanted)
    assert woken == ["left", "rejected"]
    pool.wait_for_news(CAROL, lambda: woken.append("complete"))
    pool.offer(LAYERS)
    assert woken[2:] == ["complete"]
    pool.wait_for_news(CAROL, lambda: woken.append("at once"))
    assert woken[3:] == ["at once"]


@pytest.mark.slow
@given(
    kinds=st.lists(st.sampled_from(["honest", "liar", "refuser", "sleeper"]), max_size=8),
    seed=st.randoms(use_true_random=False),
)
def test_one_honest_peer_is_enough(kinds: list[str], seed: Any) -> None:
    pool = pool_of(LAYERS)
    kinds = [*kinds, "honest"]
    seed.shuffle(kinds)
    source = HashServer(LAYERS, PIECE_LENGTH)
    now = T0
    peers = {
        parse_endpoint(f"192.0.2.{n}:1"): (kind, source.open_session())
        for n, kind in enumerate(kinds, 1)
    }
    for peer in peers:
        pool.join(peer, now=now)
    while not pool.is_complete:
        now += 1
        assert now < T0 + 60
        for peer, (kind, answers) in peers.items():
            if pool.standing(peer, now=now) is not Standing.USEFUL:
                pool.leave(peer)
            for wanted in requests(pool, peer, now=now):
                reply = answers.answer(wanted)
                if kind == "honest" and isinstance(reply, Hashes):
                    pool.received(peer, reply, now=now)
                elif kind == "liar":
                    pool.received(peer, false(wanted), now=now)
                elif kind == "refuser":
                    pool.rejected(peer, wanted)
    assert pool.layers() == LAYERS
    assert {peers[peer][0] for peer in pool.liars} <= {"liar"}
