"""The names by which a magnet link says which torrent it means.

    urn:btih:<40 hexadecimal or 32 base32 digits>    SHA-1 of a v1 info dictionary urn:btmh:1220<64
    hexadecimal digits>             multihash; SHA-256 of a v2 info dictionary urn:btpk:<64
    hexadecimal digits>                 Ed25519 key of who publishes the newest version

Spec: BEP 9 "magnet URI format"; BEP 46 "magnet links"; BEP 52 "infohash"; RFC 4648 section 6.
"""

import base64
import binascii
import re
from typing import Final

from dht.keyspace import InfoHash

BTIH: Final = "urn:btih:"
BTMH: Final = "urn:btmh:"
BTPK: Final = "urn:btpk:"

V2_HASH_BYTES: Final = 32
PUBLIC_KEY_BYTES: Final = 32

SALT_BYTES_MAX: Final = 64
"""Spec: BEP 44 "Mutable Items", salt."""

_HEX: Final = re.compile("[0-9a-fA-F]*")
_ALPHANUMERIC: Final = re.compile("[0-9A-Za-z]*")
_HEX_DIGITS: Final = 40
_BASE32_DIGITS: Final = 32
_SHA2_256: Final = "1220"
"""Multihash prefix: function 0x12 (sha2-256), length 0x20."""


def starts(text: str, prefix: str | tuple[str, ...]) -> bool:
    """Tell whether a URN starts with a prefix such as `BTIH`, in any case. Spec: RFC 8141 3.1."""
    return text.lower().startswith(prefix)


def parse_btih(urn: str) -> InfoHash:
    """Read the v1 info-hash from `urn:btih:...`.

    Pages are known to paste a whole link into the place of the hash
    (`urn:btih:magnet:?xt=urn:btih:...`): then the innermost hash counts. Base32 is read in either
    case and with padding; `0`, `1`, `8` and `9` are no base32 digits.

    Raises:
        ValueError: The length fits neither form, or a character is no digit of the form that the
            length implies.
    """
    digits = urn[len(BTIH) :]
    nested = digits.lower().rfind(BTIH)
    if nested >= 0:
        inner = _ALPHANUMERIC.match(digits, nested + len(BTIH))
        digits = inner.group() if inner else ""
    return InfoHash(_info_hash(digits.rstrip("=")))


def parse_btmh(urn: str) -> bytes:
    """Read the 32-byte v2 info-hash from `urn:btmh:...`.

    Raises:
        ValueError: It is no SHA-256 multihash in hexadecimal.
    """
    digits = urn[len(BTMH) :]
    if not digits.startswith(_SHA2_256):
        raise ValueError("btmh is no SHA-256 multihash (1220...)")
    return _hexadecimal(digits.removeprefix(_SHA2_256), V2_HASH_BYTES, "btmh")


def parse_btpk(urn: str) -> bytes:
    """Read the 32-byte Ed25519 public key from `urn:btpk:...`.

    Raises:
        ValueError: It is not 64 hexadecimal digits.
    """
    return _hexadecimal(urn[len(BTPK) :], PUBLIC_KEY_BYTES, "btpk")


def parse_salt(text: str) -> bytes:
    """Read the salt that goes with a public key: up to 64 bytes in hexadecimal.

    Raises:
        ValueError: An odd number of digits, too many, or a character that is no digit.
    """
    if len(text) > 2 * SALT_BYTES_MAX:
        raise ValueError(f"salt is longer than {SALT_BYTES_MAX} bytes")
    return _hexadecimal(text, (len(text) + 1) // 2, "salt")


def format_btih(info_hash: bytes) -> str:
    """Return `urn:btih:` and 40 hexadecimal digits."""
    return BTIH + info_hash.hex()


def format_btmh(info_hash_v2: bytes) -> str:
    """Return `urn:btmh:1220` and 64 hexadecimal digits."""
    return BTMH + _SHA2_256 + info_hash_v2.hex()


def format_btpk(public_key: bytes) -> str:
    """Return `urn:btpk:` and 64 hexadecimal digits."""
    return BTPK + public_key.hex()


def _info_hash(digits: str) -> bytes:
    if len(digits) == _HEX_DIGITS:
        return _hexadecimal(digits, _HEX_DIGITS // 2, "btih")
    if len(digits) != _BASE32_DIGITS:
        raise ValueError(f"btih has {len(digits)} digits, not 40 (hexadecimal) or 32 (base32)")
    try:
        return base64.b32decode(digits, casefold=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("btih is not base32") from error


def _hexadecimal(digits: str, length: int, what: str) -> bytes:
    # bytes.fromhex alone would skip white space between digits.
    if not _HEX.fullmatch(digits):
        raise ValueError(f"{what} is not hexadecimal")
    if len(digits) != 2 * length:
        raise ValueError(f"{what} has {len(digits)} hexadecimal digits, not {2 * length}")
    return bytes.fromhex(digits)
