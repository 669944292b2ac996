"""Info dictionaries of the official vectors, rebuilt from their fields."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dht.bencode import BValue, encode

Fields = dict[bytes, Any]


@pytest.fixture(scope="session")
def vectors() -> dict[str, Any]:
    """tests/vectors/metainfo.json."""
    path = Path(__file__).parents[2] / "vectors/metainfo.json"
    loaded: dict[str, Any] = json.loads(path.read_text())
    return loaded


def unhex(hashes: list[str]) -> bytes:
    return bytes.fromhex("".join(hashes))


@pytest.fixture
def v1(vectors: dict[str, Any]) -> Fields:
    """BEP 3: one file of 40,000 bytes."""
    vector = vectors["v1_single"]
    return {
        b"length": vector["length"],
        b"name": vector["name"].encode(),
        b"piece length": vector["piece_length"],
        b"pieces": unhex(vector["pieces"]),
    }


@pytest.fixture
def v2(vectors: dict[str, Any]) -> Fields:
    """BEP 52: one file of 81,920 bytes."""
    vector = vectors["v2_single"]
    file = {b"length": vector["length"], b"pieces root": bytes.fromhex(vector["root"])}
    return {
        b"file tree": {vector["name"].encode(): {b"": file}},
        b"meta version": 2,
        b"name": vector["name"].encode(),
        b"piece length": vector["piece_length"],
    }


@pytest.fixture
def hybrid(vectors: dict[str, Any]) -> Fields:
    """BEP 52: a directory of three files, in both forms."""
    vector = vectors["hybrid_directory"]
    roots = vector["roots"]
    tree: Fields = {}
    files: list[Fields] = []
    padding = iter(vector["padding"])
    for path, length in vector["files"]:
        *directories, name = path.encode().split(b"/")
        node = tree
        for directory in directories:
            node = node.setdefault(directory, {})
        root = {b"pieces root": bytes.fromhex(roots[path])} if path in roots else {}
        node[name] = {b"": {b"length": length, **root}}
        files.append({b"length": length, b"path": path.encode().split(b"/")})
        for pad in (next(padding, 0),):
            if pad:
                files.append({b"attr": b"p", b"length": pad, b"path": [b".pad", b"%d" % pad]})
    return {
        b"file tree": tree,
        b"files": files,
        b"meta version": 2,
        b"name": vector["name"].encode(),
        b"piece length": vector["piece_length"],
        b"pieces": unhex(vector["pieces"]),
    }


@pytest.fixture
def torrent() -> Callable[..., bytes]:
    """Write a .torrent from an info dictionary and other fields, as they are."""

    def build(info: BValue, **fields: BValue) -> bytes:
        named = {name.replace("_", " ").encode(): value for name, value in fields.items()}
        return encode({b"info": info, **named})

    return build
