"""What HTTP trackers are asked, as URLs, and what they answer, as bencoded dictionaries.

Trackers answer with peers in one of two forms, whichever form was asked for; both are read. What is
missing or senseless in an answer counts as not said, as long as there is a dictionary at all.

Spec: BEP 3 "trackers"; BEP 7; BEP 23; BEP 31; BEP 48.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Final
from urllib.parse import quote, urlsplit

from dht.bencode import BValue, Limits, decode
from dht.contact import PORT_MAX, Endpoint, Family, endpoint
from dht.errors import MalformedBencode
from dht.keyspace import ID_BYTES, InfoHash
from magnet.errors import SourceError, SourceFault
from magnet.sources.trackers.announce import (
    LEFT_UNKNOWN,
    WANTED_MAX,
    Announce,
    Announced,
    Counts,
    Event,
    bounded_count,
    bounded_interval,
    split_endpoints,
)
from magnet.text import printable_bytes

RESPONSE_BYTES_MAX: Final = 1_048_576
"""Length of an answer; 200 peers in the longest form take under 20 KiB."""

SCRAPED_MAX: Final = 40
"""Swarms of one scrape: their hashes take 3 KiB of URL, and many servers stop at 4."""

WORDS_BYTES_MAX: Final = 512
"""Of what a tracker says to people."""

TRACKER_ID_BYTES_MAX: Final = 256
"""Length of a tracker id that is sent back."""

_LIMITS: Final = Limits(size=RESPONSE_BYTES_MAX, depth=8, tokens=50_000)
_EVENTS: Final = {Event.STARTED: "started", Event.STOPPED: "stopped"}
_S_PER_MINUTE: Final = 60
_RETRY_MINUTES_MAX: Final = 1_440


def announce_url(url: str, announce: Announce) -> str:
    """Return the URL of an announce.

    Args:
        url: The tracker's; a query that it has already is kept, for it may name a user.
        announce: What to say.

    Spec: BEP 3 "trackers"; BEP 23 "compact"; BEP 7, which advises against telling addresses.
    """
    parameters: dict[str, str | bytes | int] = {
        "info_hash": announce.info_hash,
        "peer_id": announce.peer_id,
        "port": announce.port,
        "uploaded": 0,
        "downloaded": 0,
        "left": LEFT_UNKNOWN,
        "compact": 1,
        "no_peer_id": 1,
        "numwant": announce.wanted,
        "key": f"{announce.key:08X}",
    }
    if announce.event in _EVENTS:
        parameters["event"] = _EVENTS[announce.event]
    if announce.tracker_id is not None:
        parameters["trackerid"] = announce.tracker_id
    return _with_query(url, parameters.items())


def scrape_url(url: str, info_hashes: Iterable[InfoHash]) -> str | None:
    """Return the URL of a scrape; None where the tracker's has no place for it.

    Spec: BEP 48 "Implementation".
    """
    path = urlsplit(url).path
    folder, _, last = path.rpartition("/")
    if not last.startswith("announce"):
        return None
    scrape_path = f"{folder}/scrape{last.removeprefix('announce')}"
    before, _, after = url.partition("://")
    authority, _, rest = after.partition("/")
    scrape = f"{before}://{authority}{scrape_path}{rest[len(path) - 1 :]}"
    return _with_query(scrape, (("info_hash", it) for it in info_hashes))


def decode_announced(body: bytes) -> Announced:
    """Read the answer to an announce.

    Raises:
        SourceError: `REFUSED`, with the tracker's words; `MALFORMED`, if it is no dictionary.

    Spec: BEP 3 "trackers"; BEP 7 "peers6"; BEP 23; BEP 31.
    """
    fields = _fields(body)
    minimum = fields.get(b"min interval")
    tracker_id = fields.get(b"tracker id")
    interval = fields.get(b"interval")
    peers = (
        *_peers(fields.get(b"peers"), Family.IPV4),
        *_peers(fields.get(b"peers6"), Family.IPV6),
    )
    return Announced(
        peers=tuple(dict.fromkeys(peers))[: 2 * WANTED_MAX],
        interval_s=bounded_interval(interval if isinstance(interval, int) else 0),
        min_interval_s=(
            bounded_interval(minimum) if isinstance(minimum, int) and minimum > 0 else None
        ),
        tracker_id=(
            tracker_id
            if isinstance(tracker_id, bytes) and len(tracker_id) <= TRACKER_ID_BYTES_MAX
            else None
        ),
        warning=_words(fields.get(b"warning message")),
    )


def decode_scraped(body: bytes) -> dict[InfoHash, Counts]:
    """Read the answer to a scrape.

    Returns:
        The swarms that the tracker knows, `SCRAPED_MAX` at most.

    Raises:
        SourceError: As for `decode_announced`.

    Spec: BEP 48 "Tracker response"; the `files` of each are by 20-byte hash.
    """
    files = _fields(body).get(b"files")
    rows = files.items() if isinstance(files, dict) else ()
    return {
        InfoHash(key): Counts(
            _count(row, b"complete"), _count(row, b"incomplete"), _count(row, b"downloaded")
        )
        for key, row in islice(rows, SCRAPED_MAX)
        if len(key) == ID_BYTES and isinstance(row, dict)
    }


def _with_query(url: str, parameters: Iterable[tuple[str, str | bytes | int]]) -> str:
    present = urlsplit(url).query
    said = "&".join(f"{name}={_escaped(value)}" for name, value in parameters)
    return f"{url}{'&' if present else '' if url.endswith('?') else '?'}{said}"


def _escaped(value: str | bytes | int) -> str:
    return quote(str(value) if isinstance(value, int) else value, safe="")


def _fields(body: bytes) -> Mapping[bytes, BValue]:
    try:
        fields = decode(body, _LIMITS)
    except MalformedBencode as error:
        raise SourceError(SourceFault.MALFORMED, f"no tracker's answer: {error}") from error
    if not isinstance(fields, dict):
        raise SourceError(SourceFault.MALFORMED, "no tracker's answer: not a dictionary")
    if b"failure reason" in fields:
        words = _words(fields[b"failure reason"]) or "no reason given"
        raise SourceError(SourceFault.REFUSED, words, _retry_in_s(fields.get(b"retry in")))
    return fields


def _retry_in_s(value: BValue | None) -> float | None:
    """Read `retry in`: minutes, which come as a number or its digits, or "never"."""
    if value == b"never":
        return float("inf")
    if isinstance(value, bytes) and value.isdigit() and len(value) <= len(str(_RETRY_MINUTES_MAX)):
        value = int(value)
    if not isinstance(value, int) or value <= 0:
        return None
    return float(min(value, _RETRY_MINUTES_MAX) * _S_PER_MINUTE)


def _peers(value: BValue | None, family: Family) -> Iterator[Endpoint]:
    if isinstance(value, bytes):
        yield from split_endpoints(value, family.endpoint_bytes)
    elif isinstance(value, list):
        for entry in value[:WANTED_MAX]:
            yield from _listed(entry)


def _listed(entry: BValue) -> Iterator[Endpoint]:
    """Read a peer of the long form; one that is called by a host name is left out."""
    match entry:
        case {b"ip": bytes(host), b"port": int(port)} if 0 < port <= PORT_MAX:
            try:
                yield endpoint(host.decode("ascii"), port)
            except ValueError:
                return


def _count(row: Mapping[bytes, BValue], key: bytes) -> int:
    value = row.get(key)
    return bounded_count(value) if isinstance(value, int) else 0


def _words(value: BValue | None) -> str | None:
    return printable_bytes(value, WORDS_BYTES_MAX) or None if isinstance(value, bytes) else None
