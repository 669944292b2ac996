"""Ed25519 signatures from an expanded key, which is how BEP 44 gives the key of its vectors.

Libraries take seeds only. This is the arithmetic of RFC 8032 5.1, slow and fit for tests only.
"""

from hashlib import sha512
from typing import Final

_P: Final = 2**255 - 19
_ORDER: Final = 2**252 + 27742317777372353535851937790883648493
_D: Final = -121665 * pow(121666, -1, _P) % _P
_BASE: Final = (
    15112221349535400772501151409588531511454012693041857206046113283949847762202,
    46316835694926478169428394003475163141307993866256225615783033603165251855960,
)

Point = tuple[int, int]


def sign_expanded(expanded_key: bytes, public_key: bytes, message: bytes) -> bytes:
    """Return the signature of a message, 64 bytes."""
    scalar = int.from_bytes(expanded_key[:32], "little")
    nonce = _hash(expanded_key[32:], message)
    commitment = _encode(_multiply(_BASE, nonce))
    response = (nonce + _hash(commitment, public_key, message) * scalar) % _ORDER
    return commitment + response.to_bytes(32, "little")


def _hash(*parts: bytes) -> int:
    return int.from_bytes(sha512(b"".join(parts)).digest(), "little") % _ORDER


def _add(a: Point, b: Point) -> Point:
    product = _D * a[0] * b[0] * a[1] * b[1]
    x = (a[0] * b[1] + b[0] * a[1]) * pow(1 + product, -1, _P)
    y = (a[1] * b[1] + a[0] * b[0]) * pow(1 - product, -1, _P)
    return x % _P, y % _P


def _multiply(point: Point, factor: int) -> Point:
    total = (0, 1)
    while factor:
        if factor & 1:
            total = _add(total, point)
        point, factor = _add(point, point), factor >> 1
    return total


def _encode(point: Point) -> bytes:
    return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")
