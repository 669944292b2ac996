"""Items for programs: get them, put them, change them, and keep them alive.

    found = await get_item(node, target)
    report = await put_item(node, ImmutableItem(encode(b"Hello World!")))
    report = await update_item(node, key, lambda newest: encode(b"and again"))

Whoever changes an item reads it first, in both DHTs. Each node that returned a copy is told which
one is to be replaced, so that of two owners at work at once one is refused. A refusal alone proves
nothing, for anybody may refuse; what counts is a newer item with a good signature.

Spec: BEP 44; the DHTs of both families are searched (BEP 32).
"""

from collections.abc import Callable, Sequence
from random import SystemRandom
from typing import Final, NamedTuple

import trio

from dht.bencode import BValue, decode
from dht.contact import Contact, Endpoint
from dht.errors import (
    DhtError,
    ErrorResponse,
    ItemConflict,
    NodeClosed,
    NotBootstrapped,
    QueryRefused,
)
from dht.items import PUT, ImmutableItem, Item, MutableItem, SigningKey, check_value, mutable_target
from dht.itemsearch import FindItem, newest
from dht.krpc import ErrorCode
from dht.logs import get_logger
from dht.node import Node
from dht.search import Holder

_log = get_logger(__name__)

ROUNDS_MAX: Final = 3
"""How often an update is tried while others change the item, too."""

REPUBLISH_MIN_S: Final = 3_300.0
REPUBLISH_MAX_S: Final = 3_900.0
"""Bounds of the pause between puts: an hour, and not everybody's at once; nodes forget an item
after two. Spec: BEP 44 "Expiration"."""


class FoundItem(NamedTuple):
    """An item and how well it is kept.

    Attributes:
        item: Verified; the newest that was found.
        copies: Nodes that returned it; a search for an immutable item ends at the first.
        is_forked: Whether its owner has signed another value under the same sequence number.
    """

    item: Item
    copies: int
    is_forked: bool


class PutReport(NamedTuple):
    """What became of a put.

    Attributes:
        item: What was put.
        stored_by: The nodes that keep it.
        errors: Why others do not.
    """

    item: Item
    stored_by: tuple[Contact, ...]
    errors: tuple[DhtError, ...]

    @property
    def is_contested(self) -> bool:
        """Whether a node claims to hold a newer item."""
        codes = [it.code for it in self.errors if isinstance(it, ErrorResponse)]
        return ErrorCode.CAS_MISMATCH in codes or ErrorCode.SEQUENCE_TOO_LOW in codes


async def get_item(
    node: Node, target: bytes, *, salt: bytes = b"", newer_than: int | None = None
) -> FoundItem | None:
    """Search for an item.

    What it holds was written by a stranger.

    Args:
        node: Who asks.
        target: 20 bytes.
        salt: What the target was made with, if it is that of a mutable item with a salt.
        newer_than: A known sequence number; items up to it do not count.

    Returns:
        The newest item, or None if there is none.

    Raises:
        NotBootstrapped: Nobody could be asked.
        NodeClosed: The node was closed meanwhile.

    Spec: BEP 44 "get".
    """
    searched: list[FindItem] = []
    enough = trio.CancelScope()

    def make_purpose() -> FindItem:
        searched.append(FindItem(target, salt, newer_than=newer_than, settled=enough.cancel))
        return searched[-1]

    with enough:
        await node.search(target, make_purpose)
    return _sum_up([item for purpose in searched for item in purpose.copies.values()])


async def put_item(node: Node, item: Item) -> PutReport:
    """Let the nodes nearest to an item's target keep it for two hours.

    A mutable item is put as it is, so anybody can keep alive what its owner has signed.

    Raises:
        InvalidItem: An immutable value is no canonical bencoding, or too big.
        ItemConflict: There is a newer one.
        NotBootstrapped: Nobody could be asked.
        NodeClosed: The node was closed meanwhile.

    Spec: BEP 44 "put".
    """
    if isinstance(item, ImmutableItem):
        check_value(item.value)
    salt = item.salt if isinstance(item, MutableItem) else b""
    searched = await _survey(node, item.target, salt)
    held = _newest_mutable(searched)
    if isinstance(item, MutableItem) and held is not None and held.supersedes(item):
        raise ItemConflict(held.seq)
    return await _put(node, item, [(it, None) for purpose in searched for it in purpose.holders])


async def update_item(
    node: Node,
    key: SigningKey,
    revise: Callable[[MutableItem | None], bytes],
    *,
    salt: bytes = b"",
) -> PutReport:
    """Read a mutable item, and put its successor.

    Args:
        node: Who asks.
        key: The owner's.
        revise: Given the newest item, or None if there is none, returns the new value, bencoded;
            called again when somebody else was faster. What it raises ends the update.
        salt: Which of the key's items it is.

    Raises:
        InvalidItem: The value, the salt or the next sequence number is out of range.
        ItemConflict: Others kept changing the item.
        NotBootstrapped: Nobody could be asked.
        NodeClosed: The node was closed meanwhile.

    Spec: BEP 44 "put", "CAS".
    """
    target = mutable_target(key.public_key, salt)
    item: MutableItem | None = None
    report: PutReport | None = None
    for _ in range(ROUNDS_MAX):
        searched = await _survey(node, target, salt)
        held = _newest_mutable(searched, apart_from=item)
        is_beaten = item is None or (held is not None and held.seq >= item.seq)
        if report is not None and not is_beaten:
            return report
        item = key.sign(revise(held), held.seq + 1 if held is not None else 1, salt)
        report = await _put(node, item, _with_expected_seq(searched))
        if not report.is_contested:
            return report
    raise ItemConflict(held.seq if held is not None else 0)


async def keep_published(node: Node, item: Item) -> None:
    """Put an item that was put a moment ago again, about every hour, until cancelled.

    A failed round is repeated with the next.

    Raises:
        ItemConflict: There is a newer one.
        NodeClosed: The node was closed.

    Spec: BEP 44 "Expiration".
    """
    rng = SystemRandom()
    while True:
        await trio.sleep(rng.uniform(REPUBLISH_MIN_S, REPUBLISH_MAX_S))
        try:
            report = await put_item(node, item)
            _log.info("item put again", target=item.target.hex(), nodes=len(report.stored_by))
        except (NotBootstrapped, QueryRefused) as error:
            _log.warning("item not put again", target=item.target.hex(), reason=str(error))


async def _survey(node: Node, target: bytes, salt: bytes) -> list[FindItem]:
    """Search to the end, for those who want to write."""
    return (await node.search(target, lambda: FindItem(target, salt))).purposes


def _sum_up(copies: Sequence[Item]) -> FoundItem | None:
    best = newest(copies)
    if best is None:
        return None
    is_forked = isinstance(best, MutableItem) and any(
        isinstance(it, MutableItem) and it.seq == best.seq and it.value != best.value
        for it in copies
    )
    return FoundItem(best, sum(it.value == best.value for it in copies), is_forked)


def _newest_mutable(
    searched: Sequence[FindItem], *, apart_from: MutableItem | None = None
) -> MutableItem | None:
    """Return the newest copy that was found.

    Args:
        searched: By whom.
        apart_from: What we have put ourselves. A copy of the same number with another value was put
            by somebody at the same moment, and is to be revised even where ours is preferred to it.
    """
    copies = (item for purpose in searched for item in purpose.copies.values())
    best = newest(item for item in copies if item != apart_from)
    return best if isinstance(best, MutableItem) else None


def _with_expected_seq(searched: Sequence[FindItem]) -> list[tuple[Holder, int | None]]:
    """Pair each holder with the sequence number of the copy that it returned."""
    pairs: list[tuple[Holder, int | None]] = []
    for purpose in searched:
        for holder in purpose.holders:
            copy = purpose.copies.get(holder.contact.endpoint)
            pairs.append((holder, copy.seq if isinstance(copy, MutableItem) else None))
    return pairs


async def _put(node: Node, item: Item, holders: Sequence[tuple[Holder, int | None]]) -> PutReport:
    stored_by: list[Contact] = []
    errors: list[DhtError] = []

    async def put_to(at: Endpoint, arguments: dict[bytes, BValue]) -> None:
        try:
            call = await node.call(at, PUT, arguments)
        except (QueryRefused, NodeClosed) as error:
            errors.append(error)
            return
        if call.sender is not None:
            stored_by.append(call.sender)
        elif call.error is not None:
            errors.append(call.error)

    async with trio.open_nursery() as nursery:
        for holder, expected_seq in holders:
            arguments = _put_arguments(item, holder.token, expected_seq)
            nursery.start_soon(put_to, holder.contact.endpoint, arguments)
    for error in errors:
        if isinstance(error, NodeClosed):
            raise error
    return PutReport(item, tuple(stored_by), tuple(errors))


def _put_arguments(item: Item, token: bytes, expected_seq: int | None) -> dict[bytes, BValue]:
    arguments: dict[bytes, BValue] = {b"token": token, b"v": decode(item.value)}
    if isinstance(item, MutableItem):
        arguments |= {b"k": item.key, b"seq": item.seq, b"sig": item.signature}
        if item.salt:
            arguments[b"salt"] = item.salt
        if expected_seq is not None:
            arguments[b"cas"] = expected_seq
    return arguments
