"""The query part of a magnet link: taking it apart, and encoding the values.

A link comes as it was typed, copied out of HTML or escaped once too often. This module undoes what
can be undone without guessing at meaning, and knows nothing of what the parameters are for.

Spec: RFC 3986 sections 2.1 and 3.4.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from magnet.text import printable

_ESCAPED_AMPERSAND: Final = re.compile("&(?:amp|#38|#x26);", re.IGNORECASE)
_SEMICOLON: Final = re.compile(r";(?=[\w.]+=)", re.ASCII)
_KEY: Final = re.compile(r"([a-z][a-z0-9_.-]{0,31}?)(?:\.[0-9]+)*", re.IGNORECASE)
_MALFORMED_PERCENT: Final = re.compile("%(?![0-9a-fA-F]{2})")
_PERCENT: Final = re.compile("%[0-9a-fA-F]{2}")


def split_query(query: str) -> Iterator[tuple[str, str]]:
    """Yield the parameters of a query in order, values still encoded.

    Keys come in lower case and without a number at their end (`TR.1` is `tr`). `&` separates
    parameters, in HTML escaped up to twice; if there is none, `;` does. Parts without `=` or with
    an impossible key are nothing, and so is a fragment at the end.
    """
    for _ in range(2):
        query = _ESCAPED_AMPERSAND.sub("&", query)
    last = query.rfind("&") + 1
    query = query[:last] + query[last:].partition("#")[0]
    for part in query.split("&") if "&" in query else _SEMICOLON.split(query):
        key, equals, value = part.partition("=")
        matched = _KEY.fullmatch(key.strip())
        if equals and matched:
            yield matched[1].lower(), value


def decode(raw: str) -> str:
    """Percent-decode a value in which nothing may be broken; `+` stands for itself.

    Raises:
        ValueError: An escape is malformed, or the bytes are no UTF-8.
    """
    if _MALFORMED_PERCENT.search(raw):
        raise ValueError("malformed percent-encoding")
    try:
        return unquote_to_bytes(raw).decode().strip()
    except UnicodeDecodeError as error:
        raise ValueError("not UTF-8") from error


def encode(value: str) -> str:
    """Percent-encode all but letters, digits and `-._~`. Spec: RFC 3986 section 2.3."""
    return quote(value, safe="")


def decode_name(raw: str, bytes_max: int) -> str:
    """Decode a name for display, whatever state it is in.

    `+` is a space, broken escapes stand for themselves, and bytes that are no UTF-8 become U+FFFD.
    A result with escapes and without spaces was encoded twice, as long as decoding it again gives
    UTF-8.

    Args:
        raw: The value as it stands in the link.
        bytes_max: Where to cut, in bytes of UTF-8.
    """
    name = unquote_to_bytes(raw.replace("+", " ")).decode("utf-8", "replace")
    if " " not in name and _PERCENT.search(name):
        # If that is no UTF-8, the percent signs belong to the name.
        with suppress(UnicodeDecodeError):
            name = unquote_to_bytes(name).decode()
    return printable(name, bytes_max)


def encode_name(name: str, bytes_max: int) -> str:
    """Encode a name so that `decode_name` gives it back.

    That takes a second layer for the rare name that looks encoded itself, such as `100%25`.
    """
    once = encode(name)
    return once if decode_name(once, bytes_max) == name else encode(once)
