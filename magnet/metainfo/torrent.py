"""The .torrent file: an info dictionary, and beside it where its peers may be found.

Everything outside `info` is hints, unsigned and often malformed: what cannot be used is left out
with a warning and does not make the torrent invalid. The exception are v2's piece layers, which are
checked against the roots in `info`.

Spec: BEP 3 "metainfo files"; BEP 5 "torrent file extensions"; BEP 12; BEP 19; BEP 52 "metainfo
files".
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from dht.bencode import FILE_LIMITS, BValue, decode, encode, raw_value
from dht.contact import Scope
from dht.errors import MalformedBencode
from magnet.errors import InvalidMetainfo, MetainfoFault
from magnet.hosts import HostPort, host_port
from magnet.metainfo.info import Info, parse_info
from magnet.metainfo.layers import check_layers, has_all_layers
from magnet.metainfo.layout import Fields
from magnet.text import printable_bytes
from magnet.urls import TRACKER_SCHEMES, WEB_SEED_SCHEMES, check_url, without_duplicates

TORRENT_BYTES_MAX: Final = FILE_LIMITS.size
"""Length of a .torrent file: 32 MiB, as for the info dictionary that is most of it."""

TIERS_MAX: Final = 100
TRACKERS_MAX: Final = 200
"""Tiers of trackers, and trackers in all; the longest lists in use have some hundred."""

WEB_SEEDS_MAX: Final = 20
"""Web seeds kept: each is a host that a stranger has us call on."""

NODES_MAX: Final = 64
"""DHT nodes kept."""

TEXT_BYTES_MAX: Final = 65_536
"""Length of a comment."""

TIME_MAX: Final = 2**63 - 1

Tiers = tuple[tuple[str, ...], ...]

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Torrent:
    """What a .torrent file says.

    Attributes:
        info: The info dictionary, checked; it has the hashes.
        raw_info: Its bytes as received.
        trackers: URLs in tiers: all of a tier are tried before the next. Spec: BEP 12.
        web_seeds: URLs of the content; `ftp` ones are kept but not used. Spec: BEP 19.
        nodes: DHT nodes, names not resolved. Spec: BEP 5.
        comment: For display.
        created_by: The program that made the file, for display.
        creation_date: Seconds since 1970, as the file claims.
        piece_layers: Layers by pieces root, each checked; those of some files may be missing, and
            are then fetched from peers. Spec: BEP 52.
        warnings: What was left out, and oddities that were tolerated.
    """

    info: Info
    raw_info: bytes = field(repr=False)
    trackers: Tiers = ()
    web_seeds: tuple[str, ...] = ()
    nodes: tuple[HostPort, ...] = ()
    comment: str | None = None
    created_by: str | None = None
    creation_date: int | None = None
    piece_layers: Mapping[bytes, bytes] = field(default_factory=dict, repr=False)
    warnings: tuple[str, ...] = ()


def parse_torrent(data: bytes, *, bound: Scope = Scope.GLOBAL) -> Torrent:
    """Read a .torrent file.

    Args:
        data: The whole file.
        bound: Scope of the address we use; decides which literal addresses of trackers, web seeds
            and nodes are kept, as for `magnet.uri.parse_magnet`.

    Raises:
        InvalidMetainfo: The file or its info dictionary breaks a rule or passes a bound; the fault
            says which.

    Spec: BEP 3 "metainfo files"; BEP 52 "metainfo files".
    """
    fields, raw_info = _decode(data)
    info = parse_info(raw_info)
    hints = _Hints(bound, info.warnings)
    layers = hints.piece_layers(info, fields.get(b"piece layers", {}))
    date = fields.get(b"creation date")
    return Torrent(
        info=info,
        raw_info=raw_info,
        trackers=hints.trackers(fields),
        web_seeds=hints.web_seeds(fields.get(b"url-list")),
        nodes=hints.nodes(fields.get(b"nodes")),
        comment=_text(fields.get(b"comment")),
        created_by=_text(fields.get(b"created by")),
        creation_date=date if isinstance(date, int) and 0 <= date <= TIME_MAX else None,
        piece_layers=layers,
        warnings=tuple(hints.warnings),
    )


def build_torrent(
    raw_info: bytes,
    *,
    trackers: Sequence[Sequence[str]] = (),
    web_seeds: Sequence[str] = (),
    nodes: Sequence[HostPort] = (),
    comment: str | None = None,
    created_by: str | None = None,
    creation_date: int | None = None,
    piece_layers: Mapping[bytes, bytes] | None = None,
) -> bytes:
    """Write a .torrent file around an info dictionary, whose bytes stay as they are.

    Args:
        raw_info: A verified info dictionary.
        trackers: URLs in tiers.
        web_seeds: URLs of the content.
        nodes: DHT nodes.
        comment: Free text.
        created_by: The program that makes the file.
        creation_date: Seconds since 1970.
        piece_layers: Layers by pieces root, for v2 and hybrid torrents.

    Returns:
        The file, canonical as far as `raw_info` is.

    Spec: BEP 3 "metainfo files"; BEP 12; BEP 19; BEP 52 "metainfo files".
    """
    urls = [[url.encode() for url in tier] for tier in trackers if tier]
    values: dict[bytes, BValue | None] = {
        b"announce": urls[0][0] if urls else None,
        b"announce-list": [list[BValue](tier) for tier in urls]
        if sum(map(len, urls)) > 1
        else None,
        b"comment": comment.encode() if comment else None,
        b"created by": created_by.encode() if created_by else None,
        b"creation date": creation_date,
        b"nodes": [[node.host.encode(), node.port] for node in nodes] or None,
        b"piece layers": dict(piece_layers) if piece_layers else None,
        b"url-list": [url.encode() for url in web_seeds] or None,
    }
    parts = {key: encode(value) for key, value in values.items() if value is not None}
    parts[b"info"] = raw_info
    return b"d" + b"".join(encode(key) + parts[key] for key in sorted(parts)) + b"e"


def _decode(data: bytes) -> tuple[Fields, bytes]:
    """Return the decoded file, and its info dictionary as received."""
    if len(data) > TORRENT_BYTES_MAX:
        raise InvalidMetainfo(MetainfoFault.TOO_LARGE, f"file passes {TORRENT_BYTES_MAX} bytes")
    try:
        fields = decode(data, FILE_LIMITS)
        raw_info = raw_value(data, b"info", limits=FILE_LIMITS)
    except MalformedBencode as error:
        raise InvalidMetainfo(MetainfoFault.BAD_BENCODING, str(error)) from error
    if not isinstance(fields, dict) or raw_info is None:
        raise InvalidMetainfo(MetainfoFault.BAD_BENCODING, "not a dictionary with info")
    return fields, raw_info


class _Hints:
    """Reads what stands beside `info`, and notes what had to be left out."""

    def __init__(self, bound: Scope, warnings: Iterable[str]) -> None:
        self.warnings = list(warnings)
        self._bound = bound

    def trackers(self, fields: Fields) -> Tiers:
        """Read `announce-list`, and `announce` as a last tier where the list does not have it."""
        listed = fields.get(b"announce-list")
        numbered = [
            (number, raw)
            for number, tier in enumerate(listed[:TIERS_MAX] if isinstance(listed, list) else [])
            for raw in _strings(tier)
        ][:TRACKERS_MAX]
        numbered += [(TIERS_MAX, raw) for raw in _strings(fields.get(b"announce"))][:1]
        checked = [
            (number, url)
            for number, raw in numbered
            for url in self._url("tracker", raw, TRACKER_SCHEMES)
        ]
        kept = set(without_duplicates(url for _, url in checked))
        tiers: dict[int, list[str]] = {}
        for number, url in checked:
            if url in kept:
                kept.remove(url)
                tiers.setdefault(number, []).append(url)
        return tuple(map(tuple, tiers.values()))

    def web_seeds(self, value: BValue | None) -> tuple[str, ...]:
        """Read `url-list`: a string or a list of strings."""
        urls = (
            url
            for raw in list(_strings(value))[:WEB_SEEDS_MAX]
            for url in self._url("web seed", raw, WEB_SEED_SCHEMES)
        )
        return tuple(dict.fromkeys(urls))

    def nodes(self, value: BValue | None) -> tuple[HostPort, ...]:
        """Read `nodes`: a list of pairs of host and port."""
        pairs = value[:NODES_MAX] if isinstance(value, list) else []
        return tuple(dict.fromkeys(node for pair in pairs for node in self._node(pair)))

    def piece_layers(self, info: Info, value: BValue) -> dict[bytes, bytes]:
        """Read `piece layers`, in which every layer must lead to its root.

        Raises:
            InvalidMetainfo: `BAD_PIECE_LAYER`.
        """
        layers = check_layers(info, value)
        if isinstance(value, dict) and len(layers) < len(value):
            self.warnings.append("piece layers that belong to no file ignored")
        if not has_all_layers(info, layers):
            self.warnings.append("piece layers are missing")
        return layers

    def _url(self, what: str, raw: bytes, schemes: frozenset[str]) -> list[str]:
        return self._accept(what, lambda: check_url(raw.decode().strip(), schemes, self._bound))

    def _node(self, pair: BValue) -> list[HostPort]:
        match pair:
            case [bytes(host), int(port)]:
                return self._accept("node", lambda: host_port(host.decode(), port, self._bound))
            case _:
                self.warnings.append("node ignored: not a host and a port")
                return []

    def _accept(self, what: str, read: Callable[[], _T]) -> list[_T]:
        """Return what `read` gives, or nothing and a warning."""
        try:
            return [read()]
        except UnicodeDecodeError:
            self.warnings.append(f"{what} ignored: not UTF-8")
        except ValueError as error:
            self.warnings.append(f"{what} ignored: {error}")
        return []


def _strings(value: BValue | None) -> Iterator[bytes]:
    """Yield the strings of what should be a string or a list of them; some nest once more."""
    outer = value if isinstance(value, list) else [value]
    for item in outer:
        for inner in item if isinstance(item, list) else [item]:
            if isinstance(inner, bytes) and inner:
                yield inner


def _text(value: BValue | None) -> str | None:
    return printable_bytes(value, TEXT_BYTES_MAX) or None if isinstance(value, bytes) else None
