"""Which files of a torrent a link selects: `0,2,4,6-8`.

Spec: BEP 53.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final

FILE_INDEX_MAX: Final = 10_000
"""Highest index accepted, as in libtorrent: a range of few bytes may be long in memory."""

_CHARACTERS: Final = re.compile(r"[0-9,-]*")
_TOKEN: Final = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")


def parse_selection(text: str) -> tuple[int, ...]:
    """Read a selection of files.

    Tokens that make no sense (`5-3`, `-2`, `9-`) or go above `FILE_INDEX_MAX` are skipped.

    Args:
        text: Indices from zero and inclusive ranges, separated by commas, in any order.

    Returns:
        The selected indices, ascending, each once.

    Raises:
        ValueError: A character other than digits, `,` and `-`, or no token that selects anything.

    Spec: BEP 53.
    """
    if not _CHARACTERS.fullmatch(text):
        raise ValueError("characters other than digits, comma and hyphen")
    indices: list[int] = []
    for first, last in sorted(_ranges(text)):
        # Overlaps are cut off before they are expanded, so that no index is made twice.
        indices.extend(range(max(first, indices[-1] + 1 if indices else 0), last + 1))
    if not indices:
        raise ValueError("selects no file")
    return tuple(indices)


def format_selection(indices: Sequence[int]) -> str:
    """Write a selection with runs as ranges.

    Args:
        indices: Ascending and distinct.
    """
    runs: list[list[int]] = []
    for index in indices:
        if runs and runs[-1][1] == index - 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def _ranges(text: str) -> Iterator[tuple[int, int]]:
    for token in text.split(","):
        matched = _TOKEN.fullmatch(token)
        if matched:
            first = int(matched[1])
            last = int(matched[2] or first)
            if first <= last <= FILE_INDEX_MAX:
                yield first, last
