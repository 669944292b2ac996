"""The derived example of the handshake, and dice that fall as it wants them."""

from collections.abc import Callable
from random import Random

import pytest

from dht.keyspace import InfoHash


class Loaded(Random):
    """A generator with one private key, and with padding of one length."""

    def __init__(self, private: int, padding_length: int) -> None:
        super().__init__(1)
        self._private = private
        self._padding_length = padding_length

    def getrandbits(self, k: int, /) -> int:
        return self._private if k == 160 else super().getrandbits(k)

    def randrange(self, start: int, stop: int | None = None, step: int = 1) -> int:
        return self._padding_length


@pytest.fixture
def loaded() -> Callable[[int, int], Random]:
    """Return dice for a private key and a padding length."""
    return Loaded


@pytest.fixture
def info_hash() -> InfoHash:
    return InfoHash(b"\xaa" * 20)
