import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dht.prepared import PreparedNodes

KEYS = st.integers(0, 2**160 - 1)
NEIGHBOURS = KEYS.flatmap(
    lambda key: st.lists(st.integers(0, 7).map(lambda low: key ^ low), max_size=8)
)
COUNT = 3


def named(key: int) -> bytes:
    """Return a stand-in for the compact contact of a node: 20 bytes."""
    return key.to_bytes(20)


def nearest(keys: list[int], target: int) -> bytes:
    return b"".join(named(key) for key in sorted(keys, key=lambda key: key ^ target)[:COUNT])


def batched(answer: bytes) -> list[bytes]:
    return [answer[i : i + 20] for i in range(0, len(answer), 20)]


def prepared(keys: list[int]) -> PreparedNodes:
    return PreparedNodes([(key, named(key)) for key in keys], COUNT, until=900.0)


def look_up(answers: PreparedNodes, target: int) -> bytes:
    return answers[target >> answers.zone_shift]


def test_of_nobody_nobody_is_nearest() -> None:
    assert look_up(prepared([]), 7) == b""


@pytest.mark.parametrize("keys", [[5] * 10, [5, 5, 4, 4, 7], [0, 2**160 - 1, 0, 2**160 - 1]])
def test_nodes_may_share_one_id(keys: list[int]) -> None:
    for target in (0, 4, 5, 7, 2**160 - 1):
        assert look_up(prepared(keys), target) == nearest(keys, target)


@given(st.lists(KEYS, max_size=12) | NEIGHBOURS, st.lists(KEYS, min_size=1, max_size=8))
def test_a_prepared_answer_is_the_right_one(keys: list[int], targets: list[int]) -> None:
    answers = prepared(keys)
    for target in (*targets, *keys, *(key ^ 1 for key in keys)):
        answer = look_up(answers, target)
        if len(keys) > COUNT:
            assert answer == nearest(keys, target)
        else:
            assert sorted(batched(answer)) == sorted(batched(nearest(keys, target)))


def test_answers_are_right_however_few_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dht.prepared.ZONES_MAX", 4)
    rng = random.Random(1)
    keys = [rng.getrandbits(160) for _ in range(50)]
    answers = prepared(keys)
    for target in (rng.getrandbits(160) for _ in range(50)):
        assert look_up(answers, target) == nearest(keys, target)
