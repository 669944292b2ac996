"""The shelf: what does not fit first."""

from hypothesis import given
from hypothesis import strategies as st

from dht.keyspace import ID_BYTES, InfoHash
from magnet.peer.shelf import Shelf


def key(number: int) -> InfoHash:
    return InfoHash(number.to_bytes(ID_BYTES))


def test_what_is_larger_than_the_shelf_is_not_kept_nor_is_the_rest() -> None:
    shelf = Shelf(count_max=10, bytes_max=100)
    assert shelf.add([key(1)], 50) == []
    assert shelf.add([key(2)], 101) == [key(1), key(2)]
    assert shelf.add([key(3)], 100) == []


def test_oldest_goes_with_all_its_keys() -> None:
    shelf = Shelf(count_max=2, bytes_max=100)
    assert shelf.add([key(1), key(2)], 1) == []
    assert shelf.add([key(3)], 1) == []
    assert shelf.add([key(4)], 1) == [key(1), key(2)]


@given(st.lists(st.integers(1, 40)))
def test_bounds_hold(sizes: list[int]) -> None:
    shelf = Shelf(count_max=5, bytes_max=100)
    kept: dict[InfoHash, int] = {}
    for number, size in enumerate(sizes):
        kept[key(number)] = size
        for gone in shelf.add([key(number)], size):
            assert gone == next(iter(kept))
            del kept[gone]
        assert len(kept) <= 5
        assert sum(kept.values()) <= 100
        assert key(number) in kept
