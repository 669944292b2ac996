"""Fuzzes the readers of .torrent files and of info dictionaries, of v1, v2 and both."""

import random
import sys
from hashlib import sha256
from typing import Final

from magnet.errors import InvalidMetainfo
from magnet.hosts import HostPort
from magnet.metainfo.create import create_directory_info, create_file_info, create_v2
from magnet.metainfo.info import parse_info
from magnet.metainfo.layout import BLOCK_BYTES
from magnet.metainfo.merkle import root_of_layer
from magnet.metainfo.torrent import build_torrent, parse_torrent
from scripts.fuzzers.fuzzing import Subject, run
from scripts.fuzzers.mutation import Mutator

CONTENT: Final = bytes(range(256)) * 160
"""40 KiB: two and a half pieces."""

LAYER: Final = b"".join(
    sha256(CONTENT[start : start + BLOCK_BYTES]).digest()
    for start in range(0, len(CONTENT), BLOCK_BYTES)
)
ROOT: Final = root_of_layer(LAYER, BLOCK_BYTES)


def subjects(rng: random.Random) -> list[Subject]:
    """Return what is fuzzed here."""
    infos = sound_infos()
    torrents = [sound_torrent(info) for info in infos]
    return [
        Subject("info dictionary", Mutator(infos, rng).next_input, read_info, (InvalidMetainfo,)),
        Subject("torrent", Mutator(torrents, rng).next_input, read_torrent, (InvalidMetainfo,)),
    ]


def read_info(data: bytes) -> None:
    """Read an info dictionary; no path that comes of it leads astray."""
    info = parse_info(data)
    paths = [file.path for file in info.files if not file.is_padding]
    assert len(set(paths)) == len(paths)
    for element in (element for path in paths for element in path):
        assert element not in ("", ".", "..")
        assert not set(element) & {"/", "\\", "\0"}


def read_torrent(data: bytes) -> None:
    """Read a .torrent file; its info dictionary is part of the bytes received, and sound itself."""
    torrent = parse_torrent(data)
    assert torrent.raw_info in data
    read_info(torrent.raw_info)


def sound_infos() -> list[bytes]:
    """Return an info dictionary of each kind."""
    file = create_file_info("a.bin", [CONTENT], BLOCK_BYTES)
    files = [(["a.bin"], [CONTENT]), (["sub", "b.txt"], [b"text"]), (["sub", "c"], [b"!"])]
    return [
        file,
        create_directory_info("folder", files, BLOCK_BYTES),
        create_v2("a.bin", [(["a.bin"], [CONTENT])], BLOCK_BYTES).raw_info,
        create_v2("a.bin", [(["a.bin"], [CONTENT])], BLOCK_BYTES, is_hybrid=True).raw_info,
        create_v2("folder", files, BLOCK_BYTES, is_hybrid=True).raw_info,
    ]


def sound_torrent(info: bytes) -> bytes:
    """Return a .torrent file with everything beside the info dictionary that there can be."""
    return build_torrent(
        info,
        trackers=[
            ["udp://tracker.example:6969/announce"],
            ["http://one.example/", "https://two.example/"],
        ],
        web_seeds=["https://seed.example/files/"],
        nodes=[HostPort("router.example", 6881), HostPort("2001:db8::1", 6881)],
        comment="a comment",
        created_by="a program",
        creation_date=1_700_000_000,
        piece_layers={ROOT: LAYER} if b"meta version" in info else None,
    )


if __name__ == "__main__":
    run(__doc__ or "", subjects, sys.argv[1:])
