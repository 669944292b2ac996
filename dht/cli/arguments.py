"""What the arguments of the `dht` command may be, and how they are read."""

import base64
import binascii
from collections.abc import Sequence
from typing import Annotated

from cyclopts import Parameter, Token
from cyclopts.validators import Number

from dht.bootstrap import BootstrapHost, parse_host
from dht.contact import PORT_MAX
from dht.items import SALT_MAX
from dht.keyspace import ID_BYTES, InfoHash, NodeId
from dht.testnet import NODES_MAX


def parse_info_hash(text: str) -> InfoHash:
    """Read an info-hash: 40 hexadecimal digits, or 32 base32 digits as in old magnet links.

    Raises:
        ValueError: It is neither.
    """
    try:
        if len(text) == 32:
            return InfoHash(base64.b32decode(text, casefold=True))
        return InfoHash(parse_id(text))
    except ValueError as error:
        raise ValueError(f"{text!r} is not 40 hexadecimal or 32 base32 digits") from error


def parse_id(text: str) -> NodeId:
    """Read an id: 40 hexadecimal digits.

    Raises:
        ValueError: It is something else.
    """
    try:
        node_id = binascii.unhexlify(text)
    except ValueError:
        node_id = b""
    if len(node_id) != ID_BYTES:
        raise ValueError(f"{text!r} is not {2 * ID_BYTES} hexadecimal digits")
    return NodeId(node_id)


def parse_salt(text: str) -> bytes:
    """Read the salt of a mutable item: an even number of hexadecimal digits, at most 128.

    Raises:
        ValueError: It is something else.

    Spec: BEP 44 "Mutable items"; BEP 46 (its form in links).
    """
    try:
        salt = binascii.unhexlify(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is no even number of hexadecimal digits") from error
    if len(salt) > SALT_MAX:
        raise ValueError(f"a salt of {len(salt)} bytes; {SALT_MAX} is the most")
    return salt


def _read_salt(_type: type, tokens: Sequence[Token]) -> bytes:
    return parse_salt(tokens[0].value)


def _read_info_hash(_type: type, tokens: Sequence[Token]) -> InfoHash:
    return parse_info_hash(tokens[0].value)


def _read_id(_type: type, tokens: Sequence[Token]) -> NodeId:
    return parse_id(tokens[0].value)


def _read_host(_type: type, tokens: Sequence[Token]) -> BootstrapHost:
    return parse_host(tokens[0].value)


HashArgument = Annotated[
    InfoHash, Parameter(converter=_read_info_hash, n_tokens=1, accepts_keys=False)
]
IdArgument = Annotated[NodeId, Parameter(converter=_read_id, n_tokens=1, accepts_keys=False)]
HostArgument = Annotated[
    BootstrapHost, Parameter(converter=_read_host, n_tokens=1, accepts_keys=False)
]
SaltOption = Annotated[
    bytes,
    Parameter(
        metavar="HEX", converter=_read_salt, n_tokens=1, accepts_keys=False, show_default=False
    ),
]
PortArgument = Annotated[int, Parameter(validator=Number(gte=1, lte=PORT_MAX))]
SizeOption = Annotated[int, Parameter(validator=Number(gte=1, lte=NODES_MAX), show_default=True)]
Switch = Annotated[bool, Parameter(negative="", show_default=False)]
