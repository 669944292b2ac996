"""What the mutator makes: the same for one seed, bounded, mostly but not always damaged."""

import random

from scripts.fuzzers.mutation import INPUT_MAX, Mutator

CORPUS = [b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe", b"i42e", b"", b"\0" * 4]


def made(seed: int, number: int = 2_000) -> list[bytes]:
    mutator = Mutator(CORPUS, random.Random(seed))
    return [mutator.next_input() for _ in range(number)]


def test_a_seed_repeats_a_run() -> None:
    assert made(1) == made(1)
    assert made(1) != made(2)


def test_inputs_are_bounded() -> None:
    assert max(map(len, made(1))) <= INPUT_MAX


def test_inputs_are_various_and_some_are_sound() -> None:
    inputs = made(1)
    assert len(set(inputs)) > len(inputs) / 2
    assert set(CORPUS) <= set(inputs)


def test_some_damage_keeps_the_grammar_and_some_goes_deep() -> None:
    inputs = made(1)
    assert any(data.startswith(b"l" * 33) for data in inputs)
    assert any(b"i9223372036854775808e" in data for data in inputs)
