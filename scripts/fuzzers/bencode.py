"""Fuzzes the bencode decoders, and compares the fast path with the scanner."""

import random
import sys

from dht.bencode import (
    FILE_LIMITS,
    WIRE_LIMITS,
    decode,
    decode_prefix,
    encode,
    is_canonical,
    raw_value,
)
from dht.errors import MalformedBencode
from scripts.fuzzers.corpus import vector_bytes
from scripts.fuzzers.fuzzing import Subject, run
from scripts.fuzzers.mutation import Mutator


def subjects(rng: random.Random) -> list[Subject]:
    """Return what is fuzzed here."""
    corpus = vector_bytes("bencode", "input") + vector_bytes("krpc_messages", "packet")
    checks = {
        "bencode decode": decode_whole,
        "bencode decode_prefix": decode_start,
        "bencode raw_value": find_values,
    }
    return [
        Subject(name, Mutator(corpus, rng).next_input, check, (MalformedBencode,))
        for name, check in checks.items()
    ]


def decode_whole(data: bytes) -> None:
    """Decode; what was canonical comes out of `encode` as it went in, and nothing else does."""
    canonical = is_canonical(data)
    value = decode(data)
    assert canonical == (encode(value) == data)
    assert decode(data, FILE_LIMITS) == value
    assert decode_prefix(data) == (value, len(data))


def decode_start(data: bytes) -> None:
    """Decode the first value; the rest has no say in what it is."""
    value, end = decode_prefix(data, WIRE_LIMITS)
    assert decode(data[:end]) == value


def find_values(data: bytes) -> None:
    """Cut values out; they are what the decoded dictionary holds."""
    value, _ = decode_prefix(data)
    for key in (b"a", b"r", b"id", b""):
        span = raw_value(data, key)
        assert (span is not None) == (isinstance(value, dict) and key in value)
        assert span is None or (isinstance(value, dict) and decode(span) == value[key])


if __name__ == "__main__":
    run(__doc__ or "", subjects, sys.argv[1:])
