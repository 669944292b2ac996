"""Holepunch: a peer that two others are connected to helps them to reach each other.

The *initiator* sends `Rendezvous` to the *relay*, naming the *target* that it cannot dial. The
relay, if it is connected to the target, sends `Connect` to both, naming the other; and both dial at
once, by uTP, so that each opens its own firewall for the other. Where the relay cannot help, it
answers `HolepunchFailed`. A target that does not want to be reached says nothing.

On the wire a message is a fixed record and no bencoding. We always write its last field, the error
code, as the BEP has it; libtorrent leaves it out where there is no error, and that is read as well.

Spec: BEP 55.
"""

import struct
from collections import deque
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, TypeAlias

from dht.contact import Endpoint, Family, family_of, is_allowed, scope_of
from magnet.errors import RemoteProtocolError

CALLS_MAX: Final = 5
CALLS_S: Final = 60.0
"""Calls heeded within a minute, over all relays of a swarm."""


class HolepunchError(IntEnum):
    """Why a relay does not help. Spec: BEP 55 "Error codes"."""

    NO_SUCH_PEER = 1
    NOT_CONNECTED = 2
    NO_SUPPORT = 3
    NO_SELF = 4


@dataclass(frozen=True, slots=True)
class Rendezvous:
    """The sender wants to be introduced to a peer that the receiver is connected to.

    Attributes:
        target: Whom it wants to reach.

    Spec: BEP 55 "rendezvous".
    """

    target: Endpoint


@dataclass(frozen=True, slots=True)
class Connect:
    """The receiver is to dial a peer by uTP now, as that peer dials the receiver.

    Attributes:
        to: Whom to dial.

    Spec: BEP 55 "connect".
    """

    to: Endpoint


@dataclass(frozen=True, slots=True)
class HolepunchFailed:
    """The sender cannot introduce the receiver.

    Attributes:
        target: Whom the receiver wanted to reach.
        code: Why not: a `HolepunchError`, or what others may have thought of.

    Spec: BEP 55 "error".
    """

    target: Endpoint
    code: int


class CallLimit:
    """Which calls to dial somebody are heeded: few, and none that leads out of the caller's scope.

    Each makes us send datagrams to an address of a stranger's choice.
    """

    def __init__(self) -> None:
        """Begin with none heeded."""
        self._heeded_at: deque[float] = deque(maxlen=CALLS_MAX)

    def admits(self, call: Connect, relay: Endpoint, *, now: float) -> bool:
        """Tell whether to heed a call, and count it if so.

        Args:
            call: What the relay says.
            relay: Where it is.
            now: Monotonic seconds.
        """
        is_flood = len(self._heeded_at) == CALLS_MAX and now - self._heeded_at[0] < CALLS_S
        if is_flood or not is_allowed(call.to, scope_of(relay)):
            return False
        self._heeded_at.append(now)
        return True


HolepunchMessage: TypeAlias = Rendezvous | Connect | HolepunchFailed

_RENDEZVOUS, _CONNECT, _FAILED = 0, 1, 2

_HEAD: Final = struct.Struct(">BB")
_CODE: Final = struct.Struct(">I")
_ADDRESS_TYPES: Final = {Family.IPV4: 0, Family.IPV6: 1}
_FAMILIES: Final = {code: family for family, code in _ADDRESS_TYPES.items()}


def encode_holepunch_message(message: HolepunchMessage) -> bytes:
    """Return the content of the extended message that carries `message`.

    Spec: BEP 55 "Message format".
    """
    if isinstance(message, HolepunchFailed):
        return _record(_FAILED, message.target, message.code)
    if isinstance(message, Connect):
        return _record(_CONNECT, message.to)
    return _record(_RENDEZVOUS, message.target)


def decode_holepunch_message(content: bytes) -> HolepunchMessage | None:
    """Decode the content of an extended message; bytes after the record are ignored.

    Returns:
        The message, or None for one to be ignored: its type or the type of its address is unknown.

    Raises:
        RemoteProtocolError: It is too short.

    Spec: BEP 55 "Message format".
    """
    if len(content) < _HEAD.size:
        raise RemoteProtocolError("holepunch message too short")
    kind, address_type = _HEAD.unpack_from(content)
    family = _FAMILIES.get(address_type)
    if family is None:
        return None
    end = _HEAD.size + family.endpoint_bytes
    if len(content) < end:
        raise RemoteProtocolError("holepunch message too short")
    return _message(kind, Endpoint(content[_HEAD.size : end]), content[end:])


def _message(kind: int, endpoint: Endpoint, rest: bytes) -> HolepunchMessage | None:
    if kind == _RENDEZVOUS:
        return Rendezvous(endpoint)
    if kind == _CONNECT:
        return Connect(endpoint)
    if kind == _FAILED:
        code = _CODE.unpack_from(rest)[0] if len(rest) >= _CODE.size else 0
        return HolepunchFailed(endpoint, code)
    return None


def _record(kind: int, endpoint: Endpoint, code: int = 0) -> bytes:
    head = _HEAD.pack(kind, _ADDRESS_TYPES[family_of(endpoint)])
    return head + endpoint + _CODE.pack(code)
