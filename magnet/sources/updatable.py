"""Links that name a public key: the DHT tells which torrent its owner means at present.

Spec: BEP 46.
"""

from dataclasses import replace
from typing import NamedTuple

from dht.items import MutableItem, mutable_target, torrent_of
from dht.node import Node
from dht.publishing import get_item
from magnet.uri import MagnetLink


class Followed(NamedTuple):
    """What a public key leads to.

    Attributes:
        link: The link as given, with the info-hash that its owner has published last.
        seq: The number of that publication; a lower one found later is out of date.
    """

    link: MagnetLink
    seq: int


async def follow_key(node: Node, link: MagnetLink) -> Followed | None:
    """Search the DHT for what the public key of a link leads to.

    Args:
        node: Searches.
        link: With a public key. An info-hash that it has as well is replaced: it is what the owner
            published when the link was made.

    Returns:
        What was found; None if nothing was published, or no torrent.

    Raises:
        ValueError: The link has no public key.
        NotBootstrapped: Nobody could be asked.
        NodeClosed: The node was closed meanwhile.

    Spec: BEP 46 "magnet links".
    """
    if link.public_key is None:
        raise ValueError("the link names no public key")
    salt = link.salt or b""
    found = await get_item(node, mutable_target(link.public_key, salt), salt=salt)
    if found is None or not isinstance(found.item, MutableItem):
        return None
    info_hash = torrent_of(found.item.value)
    if info_hash is None:
        return None
    return Followed(replace(link, info_hash=info_hash, info_hash_v2=None), found.item.seq)
