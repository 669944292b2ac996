"""Bencoding: strict where we write, liberal where old clients are known to be, bounded everywhere.

Three ways lead through this module. Canonical input of ordinary size, which is nearly all there is,
goes to bencode2, a compiled decoder. What bencode2 refuses is read by a scanner here, which knows
the grammar and the bounds; if only the order of dictionary keys was wrong, the value is built by
bencode.py and returned. The same scanner tells where a value ends and where in the received bytes
the value of a key lies, so that hashes and signatures are taken over bytes and never over a
re-encoding.

bencode.py alone would accept `i1_0e`, duplicate keys and more, which is why it sees nothing that
the scanner has not passed.

Spec: BEP 3 "bencoding"; BEP 44 for why canonical form matters.
"""

from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias, cast

import bencode2
from bencodepy import Bencode, BencodeDecodeError

from dht.errors import MalformedBencode

BValue: TypeAlias = bytes | int | list["BValue"] | dict[bytes, "BValue"]
"""A decoded value: a string (always bytes), an integer, a list, or a dictionary keyed by bytes."""


class Limits(NamedTuple):
    """Bounds on what a stranger may make us decode.

    Attributes:
        size: Input bytes.
        depth: Lists and dictionaries inside one another.
        tokens: Strings, integers, lists and dictionaries, keys and ends counted too; bounds memory,
            since an empty list is two bytes on the wire and sixty in memory.
    """

    size: int
    depth: int
    tokens: int


WIRE_LIMITS: Final = Limits(size=65_536, depth=32, tokens=10_000)
"""For datagrams and peer messages: nothing honest is deeper than 5 or has over some 100 tokens."""

FILE_LIMITS: Final = Limits(size=33_554_432, depth=100, tokens=1_000_000)
"""For .torrent files and info dictionaries: 32 MiB, and about 250,000 files."""

INTEGER_DIGITS_MAX: Final = 4_096
"""Digits of an integer. Reading one costs time quadratic in its length; Python stops at 4,300."""

_LENGTH_DIGITS_MAX: Final = 10
_SCAN_FREE_SIZE: Final = 4_096
"""Up to this size the digits of an integer need no bound; far more than any datagram has."""

_OPENERS: Final = (b"l", b"d")
_liberal_decode = Bencode(encoding=None, max_depth=FILE_LIMITS.depth + 1).decode


def encode(value: BValue) -> bytes:
    """Encode a value in canonical form: dictionary keys sorted by their raw bytes.

    Raises:
        TypeError: Somewhere in `value` is a type bencoding has no form for; `bool` and `str` are
            refused too, since accepting them would make `decode(encode(x)) == x` false.
    """
    _refuse_foreign_types(value, FILE_LIMITS.depth)
    return bencode2.bencode(value)


encode_trusted: Final[Callable[[BValue], bytes]] = bencode2.bencode
"""Encodes without checking types.

For hot paths whose values were built from bytes and integers a line above.
"""


def decode(data: bytes, limits: Limits = WIRE_LIMITS) -> BValue:
    """Decode one value that fills `data` exactly.

    Dictionaries whose keys are out of order are read; duplicate keys, leading zeros, signs and
    anything else that makes bytes ambiguous are not.

    Raises:
        MalformedBencode: The input is not one bencoded value, or passes a bound of `limits`.
    """
    size = len(data)
    if size > limits.size:
        raise MalformedBencode(f"more than {limits.size} bytes")
    # A token takes a byte at least, so few bytes cannot be too many tokens. Lists and dictionaries
    # have an end each, so few ends cannot be too deep. Then bencode2 may go first.
    if size <= _SCAN_FREE_SIZE and size <= limits.tokens and data.count(b"e") <= limits.depth:
        try:
            value: BValue = bencode2.bdecode(data)
            return value
        except bencode2.BencodeDecodeError:
            pass  # The scanner finds out whether it is merely unsorted, and names the fault if not.
    scan = _scan(data, limits)
    if scan.end != len(data):
        raise MalformedBencode("trailing bytes", scan.end)
    return _build(data, scan)


def decode_prefix(data: bytes, limits: Limits = WIRE_LIMITS) -> tuple[BValue, int]:
    """Decode the value at the start of `data`; what follows it is left to the caller.

    Returns:
        The value, and how many bytes it took.

    Raises:
        MalformedBencode: No well-formed value starts `data`, or it passes a bound of `limits`.
    """
    scan = _scan(data, limits)
    return _build(data[: scan.end], scan), scan.end


def is_canonical(data: bytes, limits: Limits = WIRE_LIMITS) -> bool:
    """Tell whether `data` is one value in exactly the form `encode` gives it."""
    try:
        scan = _scan(data, limits)
    except MalformedBencode:
        return False
    return scan.sorted and scan.end == len(data)


def raw_value(data: bytes, *path: bytes, limits: Limits = WIRE_LIMITS) -> bytes | None:
    """Return the bytes, as received, of the value at a path of dictionary keys.

    Args:
        data: A bencoded dictionary; bytes after it are ignored.
        path: Keys from the outermost dictionary inwards, such as `b"info"`, or `b"a", b"v"`.
        limits: Bounds for the whole of `data`.

    Returns:
        The span of the value, or None when a key is missing or a value on the way is no dictionary.

    Raises:
        MalformedBencode: As for `decode_prefix`.
    """
    _scan(data, limits)
    start = 0
    for key in path:
        found = _find_key(data, start, key)
        if found is None:
            return None
        start = found
    return data[start : _skip(data, start)]


class _Scan(NamedTuple):
    end: int
    sorted: bool


def _build(data: bytes, scan: _Scan) -> BValue:
    """Build the value of a scanned input, which is known to be well-formed and within bounds."""
    try:
        return cast(
            BValue, bencode2.bdecode(data) if scan.sorted else _plain(_liberal_decode(data))
        )
    except (bencode2.BencodeDecodeError, BencodeDecodeError) as error:
        raise MalformedBencode(str(error)) from error


def _plain(value: object) -> BValue:
    """Turn bencode.py's ordered dictionaries and tuples into our four types.

    Depth is bounded by the scan.
    """
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return cast("bytes | int", value)


def _refuse_foreign_types(value: object, depth: int) -> None:
    if type(value) in (bytes, int):
        return
    if depth == 0:
        raise TypeError("nested too deeply to be bencoded")
    if type(value) is list:
        for item in value:
            _refuse_foreign_types(item, depth - 1)
    elif type(value) is dict:
        for key, item in value.items():
            if type(key) is not bytes:
                raise TypeError(f"a dictionary key must be bytes, not {type(key).__name__}")
            _refuse_foreign_types(item, depth - 1)
    else:
        raise TypeError(f"{type(value).__name__} cannot be bencoded")


class _Open:
    """A list or dictionary whose end has not been seen."""

    __slots__ = ("expects_key", "is_dict", "keys", "last_key")

    def __init__(self, is_dict: bool) -> None:
        self.is_dict = is_dict
        self.expects_key = is_dict
        self.last_key: bytes | None = None
        self.keys: set[bytes] = set()

    def take_key(self, key: bytes, offset: int) -> bool:
        """Note a key; return whether it is in order."""
        if key in self.keys:
            raise MalformedBencode("duplicate key", offset)
        in_order = self.last_key is None or self.last_key < key
        self.keys.add(key)
        self.last_key = key
        return in_order


def _scan(data: bytes, limits: Limits) -> _Scan:
    """Walk the value at the start of `data` without building it, checking grammar and bounds.

    Iterative, so that depth is a number here and not a stack.
    """
    stack: list[_Open] = []
    position, tokens, in_order = 0, 0, True
    while True:
        head = data[position : position + 1]
        tokens += 1
        if tokens > limits.tokens:
            raise MalformedBencode(f"more than {limits.tokens} tokens", position)
        top = stack[-1] if stack else None
        if head == b"e" and top is not None:
            if top.is_dict and not top.expects_key:
                raise MalformedBencode("key without a value", position)
            stack.pop()
            position += 1
        elif top is not None and top.expects_key:
            start, position = _string_span(data, position)
            in_order &= top.take_key(data[start:position], start)
            top.expects_key = False
            continue
        elif head in _OPENERS:
            if len(stack) >= limits.depth:
                raise MalformedBencode(f"deeper than {limits.depth}", position)
            stack.append(_Open(head == b"d"))
            position += 1
            continue
        else:
            position = (
                _integer_end(data, position) if head == b"i" else _string_span(data, position)[1]
            )
        if position > limits.size:
            raise MalformedBencode(f"more than {limits.size} bytes", position)
        if not stack:
            return _Scan(position, in_order)
        stack[-1].expects_key = stack[-1].is_dict


def _integer_end(data: bytes, start: int) -> int:
    negative = data[start + 1 : start + 2] == b"-"
    first = start + 1 + negative
    end = data.find(b"e", first, first + INTEGER_DIGITS_MAX + 1)
    if end < 0:
        raise MalformedBencode("integer without an end, or too long", start)
    digits = data[first:end]
    if not digits.isdigit() or (digits[:1] == b"0" and (negative or len(digits) > 1)):
        raise MalformedBencode("bad integer", start)
    return end + 1


def _string_span(data: bytes, start: int) -> tuple[int, int]:
    colon = data.find(b":", start, start + _LENGTH_DIGITS_MAX + 1)
    digits = data[start:colon] if colon > 0 else b""
    if not digits.isdigit() or (digits[:1] == b"0" and len(digits) > 1):
        raise MalformedBencode("no value here" if start < len(data) else "unexpected end", start)
    end = colon + 1 + int(digits)
    if end > len(data):
        raise MalformedBencode("string longer than the input", start)
    return colon + 1, end


def _skip(data: bytes, start: int) -> int:
    """Return the end of the value at `start` in scanned input."""
    depth, position = 0, start
    while True:
        head = data[position : position + 1]
        if head in (b"l", b"d"):
            depth, position = depth + 1, position + 1
        elif head == b"e":
            depth, position = depth - 1, position + 1
        elif head == b"i":
            position = data.index(b"e", position) + 1
        else:
            position = _string_span(data, position)[1]
        if depth == 0:
            return position


def _find_key(data: bytes, start: int, key: bytes) -> int | None:
    """Return where the value of `key` starts in the dictionary at `start` of scanned input."""
    if data[start : start + 1] != b"d":
        return None
    position = start + 1
    while data[position : position + 1] != b"e":
        key_start, position = _string_span(data, position)
        if data[key_start:position] == key:
            return position
        position = _skip(data, position)
    return None
