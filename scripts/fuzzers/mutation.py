"""Damage done to real messages: by noise, by cutting and joining, and by knowing the format.

Random bytes get no further than the first check of a decoder. Real messages with one thing wrong
get deep: a length that lies, a number out of range, a value where another belongs, a thousand lists
inside one another.
"""

import random
import re
from collections.abc import Callable, Sequence
from typing import Final

STEPS_MAX: Final = 4
"""Changes made to one message; with more there is little left of it."""

INPUT_MAX: Final = 131_072
"""Bytes of a damaged message: twice what any decoder of wire messages accepts."""

_SEARCHED: Final = 1_024
_NUMBER: Final = re.compile(rb"[0-9]+")
_INTEGER: Final = re.compile(rb"i-?[0-9]+e")
_LENGTH: Final = re.compile(rb"([0-9]{1,5}):")
_GRAMMAR: Final = (*(b"0", b"9", b"i", b"e", b"l", b"d", b":", b"-", b"&", b"=", b"%", b"\0"),)
_NUMBERS: Final = (
    *(b"0", b"1", b"-1", b"00", b"255", b"65535", b"65536", b"4294967295", b"2147483648"),
    *(b"9223372036854775807", b"9223372036854775808", b"9" * 40, b"9" * 5_000),
)
_DEPTHS: Final = (*(1, 2, 3, 4, 9, 10, 11, 31, 32, 33) * 5, 100, 1_000, 30_000)
_TIMES: Final = (*(2, 3, 4) * 10, 50, 1_000)
_SHELLS: Final = ((b"l", b"e"), (b"d1:a", b"e"), (b"ld0:", b"ee"))


class Mutator:
    """Makes damaged messages out of sound ones."""

    def __init__(self, corpus: Sequence[bytes], rng: random.Random) -> None:
        """Take the sound messages, one at least.

        Its own generator, seeded from `rng`, makes its inputs the same whatever else `rng` is used
        for.
        """
        self._corpus = corpus
        self._tokens_of = {message: _tokens(message) for message in corpus}
        self._rng = random.Random(rng.getrandbits(64))
        self._changes: tuple[Callable[[bytes], bytes], ...] = (
            *(self._flip_bit, self._put_grammar, self._put_noise, self._cut_out, self._cut_off),
            *(self._repeat, self._splice, self._swap_token, self._change_number, self._bury),
        )

    def next_input(self) -> bytes:
        """Return a message of the corpus, damaged, or once in a while as it is."""
        return self.damage(self._rng.choice(self._corpus))

    def damage(self, message: bytes) -> bytes:
        """Return a message after zero to `STEPS_MAX` changes."""
        for _ in range(self._rng.randint(0, STEPS_MAX)):
            message = self._rng.choice(self._changes)(message)[:INPUT_MAX]
        return message

    # Noise

    def _flip_bit(self, data: bytes) -> bytes:
        if not data:
            return data
        at = self._rng.randrange(len(data))
        return data[:at] + bytes([data[at] ^ 1 << self._rng.randrange(8)]) + data[at + 1 :]

    def _put_noise(self, data: bytes) -> bytes:
        start, end = self._span(data)
        return data[:start] + self._rng.randbytes(self._rng.randrange(40)) + data[end:]

    # Cutting and joining

    def _cut_out(self, data: bytes) -> bytes:
        start, end = self._span(data)
        return data[:start] + data[end:]

    def _cut_off(self, data: bytes) -> bytes:
        return data[: self._rng.randint(0, len(data))]

    def _repeat(self, data: bytes) -> bytes:
        start, end = self._span(data)
        return data[:start] + data[start:end] * self._rng.choice(_TIMES) + data[end:]

    def _splice(self, data: bytes) -> bytes:
        other = self._rng.choice(self._corpus)
        return data[: self._span(data)[0]] + other[self._span(other)[0] :]

    # Knowing the format

    def _put_grammar(self, data: bytes) -> bytes:
        at = self._rng.randint(0, len(data))
        return data[:at] + self._rng.choice(_GRAMMAR) + data[at + self._rng.randrange(2) :]

    def _change_number(self, data: bytes) -> bytes:
        """Put another number in place of one: a length, a port, a piece, a field of four bytes."""
        spans = [match.span() for match in _NUMBER.finditer(data, 0, _SEARCHED)]
        if not spans or self._rng.random() < 0.2:
            at = self._rng.randint(0, len(data))
            return data[:at] + self._rng.getrandbits(32).to_bytes(4) + data[at + 4 :]
        start, end = self._rng.choice(spans)
        near = str(int(data[start:end][:9]) + self._rng.choice((-1, 1))).encode()
        return data[:start] + self._rng.choice((near, *_NUMBERS)) + data[end:]

    def _swap_token(self, data: bytes) -> bytes:
        """Put a token of another message in place of one: a number for a string, say."""
        ours, other = _tokens(data), self._rng.choice(self._corpus)
        theirs = self._tokens_of[other]
        if not ours or not theirs:
            return data
        (start, end), (first, last) = self._rng.choice(ours), self._rng.choice(theirs)
        return data[:start] + other[first:last] + data[end:]

    def _bury(self, data: bytes) -> bytes:
        """Put a part inside many lists or dictionaries."""
        start, end = self._rng.choice(_tokens(data) or [(0, len(data))])
        depth, (opening, closing) = self._rng.choice(_DEPTHS), self._rng.choice(_SHELLS)
        return data[:start] + opening * depth + data[start:end] + closing * depth + data[end:]

    def _span(self, data: bytes) -> tuple[int, int]:
        """Choose a part, more often a short one."""
        start = self._rng.randint(0, len(data))
        return start, min(len(data), start + int(self._rng.expovariate(1 / 16)))


def _tokens(data: bytes) -> list[tuple[int, int]]:
    """Return where bencoded strings and integers seem to be, near the start; there may be none."""
    integers = [match.span() for match in _INTEGER.finditer(data, 0, _SEARCHED)]
    strings = [
        (match.start(), match.end() + int(match[1]))
        for match in _LENGTH.finditer(data, 0, _SEARCHED)
        if match.end() + int(match[1]) <= len(data)
    ]
    return integers + strings
