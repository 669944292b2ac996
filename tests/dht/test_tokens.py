import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dht.tokens import ROTATION_S, TOKEN_BYTES, Tokens

HERE = b"\xc0\x00\x02\x01"
ELSEWHERE = b"\xc0\x00\x02\x02"
KEY = b"mnopqrstuvwxyz123456"
PHASES = [0.0, 1.0, 150.0, 299.9]
MINUTE = 60.0


def fresh_tokens(seed: int = 1) -> Tokens:
    return Tokens(random.Random(seed), now=0.0)


@pytest.mark.parametrize(
    ("address", "key"), [(ELSEWHERE, KEY), (HERE, KEY[::-1]), (bytes(12) + HERE, KEY)]
)
def test_a_token_is_for_one_address_and_one_key(address: bytes, key: bytes) -> None:
    tokens = fresh_tokens()
    token = tokens.make(HERE, KEY, now=0.0)
    assert not tokens.is_valid(token, address, key, now=0.0)


@pytest.mark.parametrize("forged", [b"", b"aoeusnth", bytes(TOKEN_BYTES), bytes(200), b"\xff"])
def test_a_forged_token_is_not_valid(forged: bytes) -> None:
    assert not fresh_tokens().is_valid(forged, HERE, KEY, now=0.0)


def test_a_token_of_another_node_is_not_valid() -> None:
    token = fresh_tokens(1).make(HERE, KEY, now=0.0)
    assert not fresh_tokens(2).is_valid(token, HERE, KEY, now=0.0)


@pytest.mark.parametrize("phase", PHASES)
def test_a_token_of_16_minutes_is_too_old(phase: float) -> None:
    tokens = fresh_tokens()
    token = tokens.make(HERE, KEY, now=phase)
    assert not tokens.is_valid(token, HERE, KEY, now=phase + 16 * MINUTE)


@pytest.mark.parametrize("phase", PHASES)
def test_a_token_of_9_minutes_is_valid(phase: float) -> None:
    """BEP 5 "get_peers": tokens up to ten minutes old are accepted."""
    tokens = fresh_tokens()
    token = tokens.make(HERE, KEY, now=phase)
    assert tokens.is_valid(token, HERE, KEY, now=phase + 9 * MINUTE)


@given(
    phase=st.floats(0, 10_000),
    age=st.floats(0, 10_000),
    busy_at=st.lists(st.floats(0, 1), max_size=5).map(sorted),
)
def test_a_token_lives_ten_to_fifteen_minutes(
    phase: float, age: float, busy_at: list[float]
) -> None:
    tokens = fresh_tokens()
    token = tokens.make(HERE, KEY, now=phase)
    for share in busy_at:
        tokens.make(ELSEWHERE, KEY, now=phase + share * age)
    valid = tokens.is_valid(token, HERE, KEY, now=phase + age)
    if age < 2 * ROTATION_S:
        assert valid
    if age > 3 * ROTATION_S:
        assert not valid


def test_a_token_is_short_and_changes_with_the_secret() -> None:
    tokens = fresh_tokens()
    first = tokens.make(HERE, KEY, now=0.0)
    assert len(first) == TOKEN_BYTES
    assert tokens.make(HERE, KEY, now=299.0) == first
    assert tokens.make(HERE, KEY, now=301.0) != first
