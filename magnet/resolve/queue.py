"""What a queue of links means: the state each link is in, whose turn it is, and when to try again.

A link that could not be resolved is tried again after 5, 10, 20, 40 and 80 minutes, and from then
on daily, for torrents come back when their owners do. Links of a higher priority come first, and
among equals those that have waited longest. A torrent that was written but lacks something, such
as piece layers, is tried again in the same way, and is good for what it has until then.

Which links are being worked on is not part of the state: whoever dies with them leaves them
waiting, so that nothing has to be repaired when the work is taken up again.

`magnet.resolve.store` keeps all this on disk. Times are seconds since the epoch, because a queue
outlives the process.
"""

import re
from enum import Enum
from typing import Final, NamedTuple

from magnet.metainfo.info import Info
from magnet.uri import MagnetLink, format_magnet

LADDER_S: Final = (300.0, 600.0, 1_200.0, 2_400.0, 4_800.0)
"""Seconds until the second, third ... attempt at a link."""

DAILY_S: Final = 86_400.0
"""Seconds between attempts from then on."""

PRIORITY_MAX: Final = 999
"""Largest priority, and smallest with a minus sign: three digits, which no info-hash has."""

_PRIORITY: Final = re.compile(r"([+-]?[0-9]{1,3})\s+(?=\S)")


class LinkState(Enum):
    """Where a link in a queue stands. The values are stable: they are on disk.

    WAITING: for its turn, or for its next attempt; with a path, there is a torrent already.
    RESOLVED: its torrent was written, and is complete. UNUSABLE: its metadata was found, and is
    none that can be used; it will never change, since its hash is right.
    """

    WAITING = "waiting"
    RESOLVED = "resolved"
    UNUSABLE = "unusable"


class NewLink(NamedTuple):
    """A link to be put into a queue.

    Attributes:
        identity: What makes two links the same one, as of `identity_of`.
        uri: The link's text.
        priority: From `-PRIORITY_MAX` to `PRIORITY_MAX`; higher ones come first.
    """

    identity: str
    uri: str
    priority: int = 0


class QueuedLink(NamedTuple):
    """A link in a queue.

    Attributes:
        identity: As of `identity_of`.
        uri: The link's text.
        priority: Higher ones come first.
        state: Where it stands.
        tries: Attempts that have failed.
        next_at: When it is to be tried again; in the past for one that is due.
        reason: Why the last attempt failed, or what the torrent at `path` lacks; None if neither.
        path: Where its torrent was written; None if it was not.
    """

    identity: str
    uri: str
    priority: int
    state: LinkState
    tries: int
    next_at: float
    reason: str | None = None
    path: str | None = None


def next_try_at(tries: int, *, now: float) -> float:
    """Return when to try a link again.

    Args:
        tries: How often it was tried in vain, at least once.
        now: When the last of these ended.
    """
    return now + (LADDER_S[tries - 1] if tries <= len(LADDER_S) else DAILY_S)


def identity_of(link: MagnetLink) -> str:
    """Return what makes two links the same one: the torrent, however its link is written."""
    info_hash = link.info_hash or link.info_hash_v2
    if info_hash is not None:
        return info_hash.hex()
    return f"{(link.public_key or b'').hex()}:{(link.salt or b'').hex()}"


def aliases_of(identity: str, info: Info, priority: int) -> list[NewLink]:
    """Return the links that lead to a torrent by another of its hashes than a given link does.

    Args:
        identity: Of the given link.
        info: What it has led to.
        priority: For all of them.
    """
    links = [
        *([] if info.info_hash is None else [MagnetLink(info_hash=info.info_hash)]),
        *([] if info.info_hash_v2 is None else [MagnetLink(info_hash_v2=info.info_hash_v2)]),
    ]
    named = [NewLink(identity_of(link), format_magnet(link), priority) for link in links]
    return [it for it in named if it.identity != identity]


def split_priority(line: str, default: int = 0) -> tuple[int, str]:
    """Read a line of a list of links: the link, and before it, if one likes, its priority.

    Args:
        line: Such as `5 magnet:?xt=...`, or the link alone.
        default: The priority of a line that names none.
    """
    match = _PRIORITY.match(line)
    if match is None:
        return default, line.strip()
    return int(match[1]), line[match.end() :].strip()
