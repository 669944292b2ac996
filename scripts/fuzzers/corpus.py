"""Messages to start from: the test vectors, which are the specifications' and other clients'."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_VECTORS: Final = Path(__file__).resolve().parents[2] / "tests" / "vectors"


def vector_texts(name: str, key: str) -> list[str]:
    """Return every string under `key`, wherever in `tests/vectors/NAME.json` it stands."""
    return list(_find(json.loads((_VECTORS / f"{name}.json").read_text("utf-8")), key))


def vector_bytes(name: str, key: str) -> list[bytes]:
    """Return the same for binary messages, of which each character is one byte."""
    return [text.encode("latin-1") for text in vector_texts(name, key)]


def _find(value: object, key: str) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(found := value.get(key), str):
            yield found
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _find(item, key)
