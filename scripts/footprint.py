"""What a process holds in memory, in three figures that have to stay flat in a long run."""

import gc
import resource
import sys
from pathlib import Path
from typing import Final, NamedTuple

_STATM: Final = Path("/proc/self/statm")


class Footprint(NamedTuple):
    """What this process holds.

    Attributes:
        blocks: Blocks of memory that Python has given out.
        objects: Objects that the garbage collector knows.
        resident_kib: Memory that is resident, in KiB; 0 where the system does not tell.
    """

    blocks: int
    objects: int
    resident_kib: int

    @classmethod
    def measure(cls) -> "Footprint":
        """Collect garbage, and look."""
        gc.collect()
        return cls(sys.getallocatedblocks(), len(gc.get_objects()), _resident_kib())

    def __str__(self) -> str:
        """Return it for people."""
        resident_mib = self.resident_kib / 1_024
        return f"{self.blocks} blocks, {self.objects} objects, {resident_mib:.0f} MiB"


def _resident_kib() -> int:
    try:
        pages = int(_STATM.read_text().split()[1])
    except FileNotFoundError:
        return 0
    return pages * resource.getpagesize() // 1_024
