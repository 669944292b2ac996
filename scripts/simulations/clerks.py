"""Clerks put to the test what nodes keep for others, and have to forget in time.

Each lets nodes of a network write something, and looks later whether it is there, or gone.
"""

from collections import deque
from collections.abc import Iterable
from typing import Final

from dht.bencode import BValue, decode, encode
from dht.contact import Endpoint
from dht.errors import ErrorResponse
from dht.inquiry import Call
from dht.items import PUT, SEED_BYTES, ImmutableItem, Item, MutableItem, SigningKey
from dht.itemsearch import newest
from dht.keyspace import InfoHash, random_id
from dht.krpc import ANNOUNCE_PEER, GET_PEERS
from dht.search import Announcement
from scripts.simulations.lookups import SEARCH_LIMIT_S
from scripts.simulations.revolving import RevolvingNetwork

ANNOUNCES: Final = 10
TOKENS: Final = 5
"""Announces, and tokens tried at each age, in an hour."""

ITEMS_KEPT: Final = 5
"""Items whose owners put them again every hour, with a new value."""

ITEMS_LEFT: Final = 5
"""Items that are put in an hour, and left to themselves."""

ITEM_OLD_HOURS: Final = 2
"""Hours after which an item that was left has to be gone: when it is looked for, at the end of an
hour, it is nearly three hours old, and items last two."""

PEER_PORT: Final = 51_413


class TokenClerk:
    """Gets write tokens from a router, and uses them at a given age from where they were given."""

    def __init__(self, network: RevolvingNetwork) -> None:
        """Work in a network; routers stay, so they both ask and are asked."""
        self._network = network
        self._asker, self._keeper = network.routers[:2]

    def collect(self) -> list[tuple[InfoHash, Call]]:
        """Ask for tokens; the answers come within seconds."""
        hashes = [InfoHash(random_id(self._network.rng)) for _ in range(TOKENS)]
        return [
            (it, self._network.ask(self._asker, self._keeper, GET_PEERS, {b"info_hash": it}))
            for it in hashes
        ]

    def use(self, collected: list[tuple[InfoHash, Call]]) -> list[Call]:
        """Announce with what was collected; the answers come within seconds."""
        return [
            self._network.ask(
                self._asker,
                self._keeper,
                ANNOUNCE_PEER,
                {b"info_hash": it, b"port": PEER_PORT, b"token": call.answer.token},
            )
            for it, call in collected
            if call.answer is not None and call.answer.token is not None
        ]


class AnnounceClerk:
    """Lets nodes announce peers once, and looks for them now and when they should be forgotten."""

    def __init__(self, network: RevolvingNetwork) -> None:
        """Work in a network."""
        self._network = network

    def announce(self) -> dict[InfoHash, Endpoint]:
        """Announce one peer to each of some info-hashes."""
        announced = {}
        for writer in self._network.some_nodes(ANNOUNCES):
            info_hash = InfoHash(random_id(self._network.rng))
            self._network.get_peers(writer, info_hash, Announcement(PEER_PORT))
            announced[info_hash] = Endpoint(writer[:-2] + PEER_PORT.to_bytes(2))
        self._network.run_until_ended(limit_s=SEARCH_LIMIT_S)
        return announced

    def count_found(self, announced: dict[InfoHash, Endpoint]) -> int:
        """Return how many of the peers a node finds, another one each time."""
        readers = self._network.some_nodes(len(announced))
        searches = [
            (self._network.get_peers(reader, info_hash), peer)
            for reader, (info_hash, peer) in zip(readers, announced.items(), strict=True)
        ]
        self._network.run_until_ended(limit_s=SEARCH_LIMIT_S)
        return sum(peer in search.purpose.peers for search, peer in searches)


class ItemClerk:
    """Lets owners keep items alive, and others put items once; looks for both.

    Attributes:
        kept_found: Items found of those that are kept, when last looked for.
        left_found: Items found of those that were put within the last hour and left.
        old_found: Items found of those that should have been forgotten.
    """

    def __init__(self, network: RevolvingNetwork) -> None:
        """Work in a network."""
        self.kept_found = self.left_found = self.old_found = 0
        self._network = network
        self._keys = [SigningKey(network.rng.randbytes(SEED_BYTES)) for _ in range(ITEMS_KEPT)]
        self._seq = 0
        self._kept: list[Item] = []
        self._left: deque[list[Item]] = deque(maxlen=1 + ITEM_OLD_HOURS)

    def put(self) -> None:
        """Let every owner put the next value of its item, and some nodes an item each."""
        self._seq += 1
        value = encode(self._seq)
        self._kept = [key.sign(value, self._seq) for key in self._keys]
        left: list[Item] = [
            ImmutableItem(encode(self._network.rng.randbytes(100))) for _ in range(ITEMS_LEFT)
        ]
        self._left.append(left)
        self._put_all([*self._kept, *left])

    def look(self) -> None:
        """Look for what was put, each item from another node."""
        self.kept_found = self._count_found(self._kept)
        self.left_found = self._count_found(self._left[-1])
        is_old = len(self._left) > ITEM_OLD_HOURS
        self.old_found = self._count_found(self._left[0]) if is_old else 0

    def _put_all(self, items: list[Item]) -> None:
        network = self._network
        writers = network.some_nodes(len(items))
        searches = [network.get_item(at, it.target) for at, it in zip(writers, items, strict=True)]
        network.run_until_ended(limit_s=SEARCH_LIMIT_S)
        for writer, item, search in zip(writers, items, searches, strict=True):
            for holder in search.purpose.holders:
                arguments = _put_arguments(item, holder.token)
                network.ask(writer, holder.contact.endpoint, PUT, arguments)

    def _count_found(self, items: Iterable[Item]) -> int:
        network = self._network
        searches = [(network.get_item(network.some_node(), it.target), it) for it in items]
        network.run_until_ended(limit_s=SEARCH_LIMIT_S)
        return sum(newest(search.purpose.copies.values()) == it for search, it in searches)


def _put_arguments(item: Item, token: bytes) -> dict[bytes, BValue]:
    arguments: dict[bytes, BValue] = {b"token": token, b"v": decode(item.value)}
    if isinstance(item, MutableItem):
        arguments |= {b"k": item.key, b"seq": item.seq, b"sig": item.signature}
    return arguments


def was_taken(call: Call) -> bool:
    """Tell whether what was to be written was accepted."""
    return call.answer is not None


def was_refused(call: Call) -> bool:
    """Tell whether it was refused, rather than lost on its way."""
    return isinstance(call.error, ErrorResponse)
