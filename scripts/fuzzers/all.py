"""Fuzzes every decoder of strangers' bytes, one after the other; the time is shared out equally."""

import random
import sys

from scripts.fuzzers import (
    bencode,
    encryption,
    engine,
    hashes,
    krpc,
    magnet_link,
    mapping,
    metainfo,
    peer,
    swarming,
    tracker,
    utp,
)
from scripts.fuzzers.fuzzing import Subject, run


def subjects(rng: random.Random) -> list[Subject]:
    """Return what every fuzzer fuzzes."""
    modules = (
        bencode,
        krpc,
        engine,
        magnet_link,
        metainfo,
        peer,
        swarming,
        hashes,
        encryption,
        mapping,
        tracker,
        utp,
    )
    return [subject for module in modules for subject in module.subjects(rng)]


if __name__ == "__main__":
    run(__doc__ or "", subjects, sys.argv[1:])
