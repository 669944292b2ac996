"""Fuzzes the reader of magnet links, and checks that what it read can be written and read again."""

import random
import sys

from dht.contact import Scope
from magnet.errors import InvalidMagnetURI
from magnet.uri.link import LINK_BYTES_MAX, PARAMETERS_MAX, format_magnet, parse_magnet
from scripts.fuzzers.corpus import vector_texts
from scripts.fuzzers.fuzzing import Subject, run
from scripts.fuzzers.mutation import Mutator


def subjects(rng: random.Random) -> list[Subject]:
    """Return what is fuzzed here."""
    corpus = [
        link.encode("utf-8", "surrogatepass") for link in vector_texts("magnet_links", "link")
    ]
    return [
        Subject("magnet link", Mutator(corpus, rng).next_input, read_link, (InvalidMagnetURI,)),
    ]


def read_link(data: bytes) -> None:
    """Read a link; written out, it means the same, and no longer warns."""
    link = parse_magnet(data.decode("utf-8", "surrogateescape"), bound=Scope.GLOBAL)
    assert len(link.trackers) + len(link.web_seeds) + len(link.unknown) <= PARAMETERS_MAX
    written = format_magnet(link)
    assert written.isascii()
    if len(written) <= LINK_BYTES_MAX:
        assert parse_magnet(written) == link


if __name__ == "__main__":
    run(__doc__ or "", subjects, sys.argv[1:])
