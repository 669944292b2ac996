"""The handshake of the extension protocol: what a peer speaks, under which ids, and some facts.

Each side numbers the extensions for itself: the ids in the handshake we receive are those we use
when sending to that peer, and the ids we announce are those the peer uses towards us.

We write canonical bencoding with fields in their range. We read liberally: a field of the wrong
type or out of range counts as absent, so that one odd value does not cost us a peer. Only what is
no bencoded dictionary at all is an error.

Spec: BEP 10 "handshake message"; BEP 9 `metadata_size`; BEP 21 `upload_only`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from dht import bencode
from dht.contact import Endpoint, Scope, address_of, scope_of
from dht.errors import MalformedBencode
from magnet.errors import RemoteProtocolError
from magnet.peer.ut_metadata import METADATA_SIZE_MAX

EXTENSION_HANDSHAKE_ID: Final = 0
"""The extension id of the handshake itself. Spec: BEP 10 "extension message"."""

UT_METADATA: Final = b"ut_metadata"
"""Name of the metadata exchange. Spec: BEP 9."""

UT_PEX: Final = b"ut_pex"
"""Name of the peer exchange. Spec: BEP 11."""

UT_HOLEPUNCH: Final = b"ut_holepunch"
"""Name of the holepunch. Spec: BEP 55."""

LOCAL_IDS: Final[Mapping[bytes, int]] = {UT_PEX: 1, UT_METADATA: 2, UT_HOLEPUNCH: 4}
"""The ids under which we take messages; which ones is our own choice, and these are libtorrent's.
"""

CLIENT_NAME: Final = "Trackerless"
"""What we call ourselves in `v`."""

_IDS_MAX: Final = 255
"""An id is one byte, and 0 means that the extension is switched off."""

_NAME_BYTES_MAX: Final = 64
"""Bytes read of a client's name, which is for people only; real ones have about 20."""

_REQUEST_QUEUE_MAX: Final = 2_000
"""Outstanding requests believed; the most that libtorrent announces."""

_PORT_MAX: Final = 0xFFFF
_IPV4_BYTES, _IPV6_BYTES = 4, 16
_IPV4_MAPPED: Final = bytes(10) + b"\xff\xff"

_LIMITS: Final = bencode.Limits(size=65_536, depth=10, tokens=2_048)
"""Real handshakes have 100 to 400 bytes, a depth of 2 and some 40 tokens."""


@dataclass(frozen=True, slots=True)
class ExtensionHandshake:
    """What one side says of itself in the extension protocol; None stands for "not said".

    Attributes:
        ids: Extension id (1 to 255) by extension name; 0 switches an extension off.
        metadata_size: Bytes of the info dictionary, 1 to `METADATA_SIZE_MAX`. Spec: BEP 9.
        port: The sender's TCP listening port.
        client: The sender's name and version, printable.
        request_queue: How many outstanding requests the sender takes (`reqq`), 1 to 2,000.
        your_ip: The receiver's address as the sender sees it: 4 or 16 bytes; IPv4-mapped addresses
            are given as IPv4. One vote.
        ipv4: Another address of the sender: 4 bytes, unverified.
        ipv6: Another address of the sender: 16 bytes, unverified.
        upload_only: Whether the sender downloads nothing. Spec: BEP 21.
        prefers_encryption: Whether the sender prefers message stream encryption (`e`).

    Spec: BEP 10 "handshake message".
    """

    ids: Mapping[bytes, int] = field(default_factory=dict)
    metadata_size: int | None = None
    port: int | None = None
    client: str | None = None
    request_queue: int | None = None
    your_ip: bytes | None = None
    ipv4: bytes | None = None
    ipv6: bytes | None = None
    upload_only: bool = False
    prefers_encryption: bool = False


def your_ip_for(peer: Endpoint) -> bytes | None:
    """Return what to tell a peer as `your_ip`: its address, unless that says nothing to others."""
    return address_of(peer) if scope_of(peer) is Scope.GLOBAL else None


def encode_extension_handshake(handshake: ExtensionHandshake) -> bytes:
    """Return the content of the extended message 0, canonical; absent facts have no key.

    Spec: BEP 10 "handshake message".
    """
    facts: dict[bytes, bencode.BValue | None] = {
        b"e": int(handshake.prefers_encryption) or None,
        b"ipv4": handshake.ipv4,
        b"ipv6": handshake.ipv6,
        b"m": dict(handshake.ids),
        b"metadata_size": handshake.metadata_size,
        b"p": handshake.port,
        b"reqq": handshake.request_queue,
        b"upload_only": int(handshake.upload_only) or None,
        b"v": None if handshake.client is None else handshake.client.encode(),
        b"yourip": handshake.your_ip,
    }
    return bencode.encode({key: value for key, value in facts.items() if value is not None})


def decode_extension_handshake(content: bytes) -> ExtensionHandshake:
    """Decode the content of an extended message 0; bytes after its dictionary are ignored.

    Raises:
        RemoteProtocolError: It does not start with a bencoded dictionary of at most 64 KiB and
            depth 10.

    Spec: BEP 10 "handshake message".
    """
    try:
        facts, _ = bencode.decode_prefix(content, _LIMITS)
    except MalformedBencode as error:
        raise RemoteProtocolError("malformed extension handshake") from error
    if not isinstance(facts, dict):
        raise RemoteProtocolError("extension handshake is no dictionary")
    return ExtensionHandshake(
        ids=_ids(facts.get(b"m")),
        metadata_size=_integer(facts.get(b"metadata_size"), METADATA_SIZE_MAX),
        port=_integer(facts.get(b"p"), _PORT_MAX),
        client=_client(facts.get(b"v")),
        request_queue=_request_queue(facts.get(b"reqq")),
        your_ip=_address(facts.get(b"yourip"), _IPV4_BYTES, _IPV6_BYTES),
        ipv4=_address(facts.get(b"ipv4"), _IPV4_BYTES),
        ipv6=_address(facts.get(b"ipv6"), _IPV6_BYTES),
        upload_only=_flag(facts.get(b"upload_only")),
        prefers_encryption=_flag(facts.get(b"e")),
    )


def merge_ids(known: Mapping[bytes, int], update: Mapping[bytes, int]) -> dict[bytes, int]:
    """Return the ids in force after a further handshake: it adds, and 0 switches off.

    A name whose id another name holds already is ignored, so there are at most 255.

    Spec: BEP 10 "handshake message".
    """
    merged = {name: identifier for name, identifier in known.items() if name not in update}
    taken = set(merged.values())
    for name, identifier in update.items():
        if identifier and identifier not in taken:
            merged[name] = identifier
            taken.add(identifier)
    return merged


def _ids(value: bencode.BValue | None) -> dict[bytes, int]:
    """Read `m`; of several names with one id the first counts."""
    ids: dict[bytes, int] = {}
    taken: set[int] = set()
    for name, identifier in value.items() if isinstance(value, dict) else ():
        if isinstance(identifier, int) and 0 <= identifier <= _IDS_MAX and identifier not in taken:
            ids[name] = identifier
            taken.update({identifier} - {0})
    return ids


def _integer(value: bencode.BValue | None, most: int) -> int | None:
    return value if isinstance(value, int) and 1 <= value <= most else None


def _request_queue(value: bencode.BValue | None) -> int | None:
    return max(1, min(value, _REQUEST_QUEUE_MAX)) if isinstance(value, int) else None


def _client(value: bencode.BValue | None) -> str | None:
    if not isinstance(value, bytes):
        return None
    text = value[:_NAME_BYTES_MAX].decode(errors="replace")
    return "".join(filter(str.isprintable, text)).strip() or None


def _address(value: bencode.BValue | None, *lengths: int) -> bytes | None:
    if not isinstance(value, bytes) or len(value) not in lengths:
        return None
    return value.removeprefix(_IPV4_MAPPED) if len(value) == _IPV6_BYTES else value


def _flag(value: bencode.BValue | None) -> bool:
    """Read a truth value; some clients send it as a string. Spec: BEP 21."""
    return value not in (None, 0, b"", b"0") and isinstance(value, (int, bytes))
