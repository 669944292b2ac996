"""Magnet links: reading what pages really contain, writing what every client reads.

Reading is liberal in form and strict in meaning. A parameter that is wrong, or that would lead us
where a stranger must not lead us, is left out with a warning; a link that names no torrent, or two
different ones, is refused. Nothing is fetched, resolved or opened, and the work is linear in the
size of the link.

Clients disagree on a link with two different info-hashes: some take the first, some the last. Here
it is an error that names both.

Spec: BEP 9 "magnet URI format"; BEP 46 "magnet links"; BEP 53.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, TypeVar
from urllib.parse import unquote

from dht.contact import Scope
from dht.keyspace import ID_BYTES, InfoHash
from magnet.errors import InvalidMagnetURI, LinkFault
from magnet.hosts import HostPort, parse_host_port
from magnet.text import printable, quoted
from magnet.uri import urn
from magnet.uri.query import decode, decode_name, encode, encode_name, split_query
from magnet.uri.selection import format_selection, parse_selection
from magnet.urls import (
    SOURCE_SCHEMES,
    TRACKER_SCHEMES,
    WEB_SEED_SCHEMES,
    check_url,
    without_duplicates,
)

LINK_BYTES_MAX: Final = 16_384
"""Length of a link; the longest on real pages carry some fifty trackers and stay under 8 KiB."""

PARAMETERS_MAX: Final = 100
"""Parameters read from one link, trackers included; the rest is ignored with a warning."""

SOURCES_MAX: Final = 20
"""Peers, web seeds and other sources kept, each: a link must not make us call on a crowd."""

NODES_MAX: Final = 5
"""DHT nodes kept: they only help a node that knows nobody."""

NAME_BYTES_MAX: Final = 1_024
"""Length of a name; no file system allows more than 255 bytes."""

LENGTH_MAX: Final = 2**63 - 1
"""Largest size a link may claim: what bencoded torrents can hold."""

_AROUND: Final = " \t\r\n\v\f\0\"'<>\u00a0\u200b\ufeff"
"""What copying from a page or a chat leaves around a link."""

_SCHEME: Final = re.compile(r"magnet:(?:/{0,3}\?|(?=x[ts](?:\.[0-9]+)?=))", re.IGNORECASE)
_BARE: Final = re.compile(r"[0-9a-fA-F]{40}|[2-7a-zA-Z]{32}")
_CONTROL: Final = re.compile(r"[\0-\x1f\x7f]")
_LENGTH: Final = re.compile(r"[0-9]{1,19}")
_TRACKER: Final = re.compile(f"(?:{'|'.join(sorted(TRACKER_SCHEMES))}):", re.IGNORECASE)

_KNOWN_KEYS: Final = frozenset(
    ["xt", "xs", "s", "dn", "tr", "ws", "as", "x.pe", "dht", "so", "ix", "kt", "xl"]
)

_T = TypeVar("_T")
_Bytes = TypeVar("_Bytes", bound=bytes)


@dataclass(frozen=True, slots=True)
class MagnetLink:
    """What a magnet link says.

    Attributes:
        info_hash: SHA-1 of the v1 info dictionary, 20 bytes.
        info_hash_v2: SHA-256 of the v2 info dictionary, 32 bytes. With `info_hash` too, the link
            means one hybrid torrent.
        public_key: Ed25519 key, 32 bytes, under which the DHT holds the newest version.
        salt: Goes with `public_key`; 1 to 64 bytes, None when there is none.
        name: For display only: neither a path nor proof of anything.
        trackers: URLs in order, each a tier of its own.
        peers: Where the link says peers are; names are not resolved.
        nodes: Where the link says DHT nodes are; names are not resolved.
        web_seeds: URLs of the content; `ftp` ones are kept but not used.
        exact_sources: URLs of the .torrent itself.
        acceptable_sources: URLs that may lead to the .torrent or to the content.
        select: Indices of the wanted files, ascending; empty when the link selects nothing in
            particular. Spec: BEP 53.
        keywords: Search words.
        length: Size of the content in bytes, as the link claims.
        unknown: Other parameters, key and decoded value, in order; `xt` of foreign kinds among
            them.
        bare: The text was a hash alone and not a link. Takes no part in comparisons.
        warnings: What was left out, and why. Takes no part in comparisons.

    Raises:
        ValueError: A hash, key or salt has the wrong length, or there is neither a hash nor a key.
    """

    info_hash: InfoHash | None = None
    info_hash_v2: bytes | None = None
    public_key: bytes | None = None
    salt: bytes | None = None
    name: str | None = None
    trackers: tuple[str, ...] = ()
    peers: tuple[HostPort, ...] = ()
    nodes: tuple[HostPort, ...] = ()
    web_seeds: tuple[str, ...] = ()
    exact_sources: tuple[str, ...] = ()
    acceptable_sources: tuple[str, ...] = ()
    select: tuple[int, ...] = ()
    keywords: tuple[str, ...] = ()
    length: int | None = None
    unknown: tuple[tuple[str, str], ...] = ()
    bare: bool = field(default=False, compare=False)
    warnings: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        """Refuse an identity of impossible shape."""
        v1, v2, key, salt = self.info_hash, self.info_hash_v2, self.public_key, self.salt
        if v1 is None and v2 is None and key is None:
            raise ValueError("a link needs an info-hash or a public key")
        if v1 is not None and len(v1) != ID_BYTES:
            raise ValueError(f"a v1 info-hash has {ID_BYTES} bytes, not {len(v1)}")
        if v2 is not None and len(v2) != urn.V2_HASH_BYTES:
            raise ValueError(f"a v2 info-hash has {urn.V2_HASH_BYTES} bytes, not {len(v2)}")
        if key is not None and len(key) != urn.PUBLIC_KEY_BYTES:
            raise ValueError(f"a public key has {urn.PUBLIC_KEY_BYTES} bytes, not {len(key)}")
        if salt is not None and (key is None or not 1 <= len(salt) <= urn.SALT_BYTES_MAX):
            raise ValueError(
                f"a salt has 1 to {urn.SALT_BYTES_MAX} bytes and goes with a public key"
            )

    def swarm_keys(self) -> tuple[InfoHash, ...]:
        """Return the 20-byte keys under which the torrent's peers announce themselves.

        Returns:
            The v1 info-hash and the first 20 bytes of the v2 one, as far as known; a hybrid torrent
            has two swarms.

        Spec: BEP 52 "infohash".
        """
        v2 = None if self.info_hash_v2 is None else InfoHash(self.info_hash_v2[:ID_BYTES])
        return tuple(key for key in (self.info_hash, v2) if key is not None)


def parse_magnet(text: str, *, bound: Scope = Scope.GLOBAL) -> MagnetLink:
    """Read a magnet link, or a bare info-hash.

    Args:
        text: The link as typed or pasted; white space and quotation marks around it do not matter.
        bound: Scope of the address we use. Peers, nodes and URLs with literal addresses are kept
            when `dht.contact.is_allowed` says so: by default only global ones; with
            `Scope.LOOPBACK` or `Scope.PRIVATE` those that such a socket may reach.

    Raises:
        InvalidMagnetURI: The text names no torrent or more than one, is too long, or is no magnet
            link.

    Spec: BEP 9 "magnet URI format".
    """
    # Bytes that were no UTF-8 reach us as lone surrogates, from the command line for one.
    text = text[: LINK_BYTES_MAX + 1].encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    if len(text.encode()) > LINK_BYTES_MAX:
        raise InvalidMagnetURI(LinkFault.TOO_LONG, f"link is longer than {LINK_BYTES_MAX} bytes")
    text = text.strip(_AROUND)
    if _CONTROL.search(text):
        raise InvalidMagnetURI(LinkFault.CONTROL_CHARACTER, "control character inside the link")
    scheme = _SCHEME.match(text)
    query = text[scheme.end() :] if scheme else _query_of_bare(text)
    return _read(_Parameters(query, bound), bare=scheme is None)


def format_magnet(link: MagnetLink) -> str:
    """Write a link in the form that most clients read.

    `xt` comes first, and all values but URNs and addresses are percent-encoded.

    `parse_magnet` gives an equal link back, if it has the same `bound` and the text stays below
    `LINK_BYTES_MAX`. All fields are written: that a link had better not carry more than some twenty
    trackers, or our own address, is for its maker to see to.

    Spec: BEP 9 "magnet URI format"; RFC 3986 section 2.3.
    """
    return "magnet:?" + "&".join(f"{key}={value}" for key, value in _written(link))


def _query_of_bare(text: str) -> str:
    if _BARE.fullmatch(text):
        return f"xt={urn.BTIH}{text}"
    if urn.starts(text, (urn.BTIH, urn.BTMH)):
        return f"xt={text}"
    raise InvalidMagnetURI(
        LinkFault.NOT_A_MAGNET, f"not a magnet link or info-hash: {quoted(text)}"
    )


class _Parameters:
    """The parameters of one link, and what was found wrong with them."""

    def __init__(self, query: str, bound: Scope) -> None:
        self.bound = bound
        self.faults: list[tuple[str, str]] = []
        self.pairs = list(split_query(query))
        if len(self.pairs) > PARAMETERS_MAX:
            self.faults.append(("rest", f"more than {PARAMETERS_MAX} parameters"))
            del self.pairs[PARAMETERS_MAX:]

    def values(self, key: str) -> list[str]:
        """Return the raw values of a key, empty ones left out."""
        return [value for name, value in self.pairs if name == key and value]

    def each(
        self, key: str, read: Callable[[str], _T], most: int = PARAMETERS_MAX
    ) -> tuple[_T, ...]:
        """Read all values of a key; at most `most` distinct results are kept."""
        return self.accept(key, self.values(key), read, most)

    def accept(
        self,
        label: str,
        values: Iterable[str],
        read: Callable[[str], _T],
        most: int = PARAMETERS_MAX,
    ) -> tuple[_T, ...]:
        """Read values, noting a fault under `label` for each that is refused."""
        accepted: dict[_T, None] = {}
        for value in values:
            try:
                accepted[read(value)] = None
            except ValueError as error:
                self.faults.append((label, str(error)))
        if len(accepted) > most:
            self.faults.append((label, f"more than {most}"))
        return tuple(accepted)[:most]

    def first(self, key: str, read: Callable[[str], _T]) -> _T | None:
        """Read the values of a key up to the first that says something."""
        return next((result for result in self.each(key, read) if result), None)

    def urls(self, key: str, schemes: frozenset[str]) -> tuple[str, ...]:
        """Read the values of a key as URLs."""
        return self.each(key, lambda raw: check_url(decode(raw), schemes, self.bound), SOURCES_MAX)

    def hosts(self, key: str, most: int) -> tuple[HostPort, ...]:
        """Read the values of a key as host and port."""
        return self.each(key, lambda raw: parse_host_port(decode(raw), self.bound), most)


def _read(parameters: _Parameters, *, bare: bool) -> MagnetLink:
    topics = tuple(filter(None, parameters.each("xt", _decode_text)))
    info_hash = _hash_of(parameters, topics, urn.BTIH, urn.parse_btih)
    info_hash_v2 = _hash_of(parameters, topics, urn.BTMH, urn.parse_btmh)
    public_key = _public_key(parameters)
    if info_hash is None and info_hash_v2 is None and public_key is None:
        raise _nameless(parameters, topics)
    return MagnetLink(
        info_hash=info_hash,
        info_hash_v2=info_hash_v2,
        public_key=public_key,
        salt=None if public_key is None else _salt(parameters),
        name=parameters.first("dn", lambda raw: decode_name(raw, NAME_BYTES_MAX)),
        trackers=_trackers(parameters),
        peers=parameters.hosts("x.pe", SOURCES_MAX),
        nodes=parameters.hosts("dht", NODES_MAX),
        web_seeds=parameters.urls("ws", WEB_SEED_SCHEMES),
        exact_sources=_exact_sources(parameters),
        acceptable_sources=parameters.urls("as", SOURCE_SCHEMES),
        select=parameters.first("so", _selection) or parameters.first("ix", _selection) or (),
        keywords=_keywords(parameters),
        length=parameters.first("xl", _length),
        unknown=_unknown(parameters, topics),
        bare=bare,
        warnings=tuple(f"{key} ignored: {fault}" for key, fault in parameters.faults),
    )


def _decode_text(raw: str) -> str:
    return printable(decode(raw), LINK_BYTES_MAX)


def _hash_of(
    parameters: _Parameters, topics: Iterable[str], prefix: str, parse: Callable[[str], _Bytes]
) -> _Bytes | None:
    """Return the one hash that the topics of a kind name, or None."""
    own = [topic for topic in topics if urn.starts(topic, prefix)]
    return _the_only(parameters.accept("xt", own, parse), "info-hashes")


def _public_key(parameters: _Parameters) -> bytes | None:
    own = filter(_names_key, parameters.values("xs"))
    keys = parameters.accept("xs", own, lambda raw: urn.parse_btpk(_decode_text(raw)))
    return _the_only(keys, "public keys")


def _names_key(raw: str) -> bool:
    return urn.starts(unquote(raw).strip(), urn.BTPK)


def _the_only(found: tuple[_Bytes, ...], what: str) -> _Bytes | None:
    if len(found) > 1:
        raise InvalidMagnetURI(
            LinkFault.AMBIGUOUS, f"link has different {what}", [item.hex() for item in found]
        )
    return found[0] if found else None


def _nameless(parameters: _Parameters, topics: tuple[str, ...]) -> InvalidMagnetURI:
    # Only xt and xs have been read so far, so that the first fault is that of a hash or key.
    if parameters.faults:
        return InvalidMagnetURI(LinkFault.BAD_HASH, parameters.faults[0][1])
    if topics:
        return InvalidMagnetURI(LinkFault.NOT_BITTORRENT, f"not BitTorrent: {quoted(topics[0])}")
    return InvalidMagnetURI(LinkFault.NO_HASH, "link has no info-hash (xt=urn:btih:...)")


def _salt(parameters: _Parameters) -> bytes | None:
    raw = next(iter(parameters.values("s")), None)
    try:
        return None if raw is None else urn.parse_salt(raw)
    except ValueError as error:
        raise InvalidMagnetURI(LinkFault.BAD_SALT, str(error)) from error


def _trackers(parameters: _Parameters) -> tuple[str, ...]:
    def read(raw: str) -> str:
        url = decode(raw)
        if not _TRACKER.match(url):
            url = decode(url)
        return check_url(url, TRACKER_SCHEMES, parameters.bound)

    return tuple(without_duplicates(parameters.each("tr", read)))


def _exact_sources(parameters: _Parameters) -> tuple[str, ...]:
    urls = (raw for raw in parameters.values("xs") if not _names_key(raw))
    return parameters.accept(
        "xs",
        urls,
        lambda raw: check_url(decode(raw), SOURCE_SCHEMES, parameters.bound),
        SOURCES_MAX,
    )


def _selection(raw: str) -> tuple[int, ...]:
    return parse_selection(decode(raw))


def _length(raw: str) -> int:
    if not _LENGTH.fullmatch(raw) or not 1 <= int(raw) <= LENGTH_MAX:
        raise ValueError("not a size in bytes")
    return int(raw)


def _keywords(parameters: _Parameters) -> tuple[str, ...]:
    words = (word for raw in parameters.values("kt") for word in raw.split("+"))
    return tuple(filter(None, parameters.accept("kt", words, _decode_text, LINK_BYTES_MAX)))


def _unknown(parameters: _Parameters, topics: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Return what is kept without being understood: foreign topics and other keys."""
    kept = [("xt", topic) for topic in topics if not urn.starts(topic, (urn.BTIH, urn.BTMH))]
    for key, raw in parameters.pairs:
        if key not in _KNOWN_KEYS:
            kept += [(key, value) for value in parameters.accept(key, [raw], _decode_text) if value]
    return tuple(dict.fromkeys(kept))


def _written(link: MagnetLink) -> Iterator[tuple[str, str]]:
    """Yield the parameters of a link in the order in which they are written."""
    yield from _written_identity(link)
    if link.name:
        yield "dn", encode_name(link.name, NAME_BYTES_MAX)
    yield from (("tr", encode(url)) for url in link.trackers)
    # Addresses stay as they are, since libtorrent does not decode them.
    yield from (("x.pe", str(host)) for host in link.peers)
    yield from (("dht", str(host)) for host in link.nodes)
    yield from (("ws", encode(url)) for url in link.web_seeds)
    yield from (("xs", encode(url)) for url in link.exact_sources)
    yield from (("as", encode(url)) for url in link.acceptable_sources)
    if link.select:
        yield "so", format_selection(link.select)
    if link.keywords:
        yield "kt", "+".join(map(encode, link.keywords))
    if link.length is not None:
        yield "xl", str(link.length)
    yield from ((key, encode(value)) for key, value in link.unknown)


def _written_identity(link: MagnetLink) -> Iterator[tuple[str, str]]:
    if link.info_hash is not None:
        yield "xt", urn.format_btih(link.info_hash)
    if link.info_hash_v2 is not None:
        yield "xt", urn.format_btmh(link.info_hash_v2)
    if link.public_key is not None:
        yield "xs", urn.format_btpk(link.public_key)
    if link.salt is not None:
        yield "s", link.salt.hex()
