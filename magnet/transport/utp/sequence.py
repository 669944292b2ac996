"""Numbers of sixteen bits that count packets and begin again at zero.

Spec: BEP 29 "seq_nr", "ack_nr".
"""

from typing import Final

SEQUENCE_MASK: Final = 0xFFFF
"""The largest number; the next one is zero."""

_HALF: Final = 0x8000


def after(number: int, steps: int = 1) -> int:
    """Return the number so many steps on; steps may be negative."""
    return (number + steps) & SEQUENCE_MASK


def steps_from(first: int, second: int) -> int:
    """Return by how many steps the second number is ahead, -32,768 to 32,767; negative if behind.

    Of the two ways round, the shorter one is meant.
    """
    return ((second - first + _HALF) & SEQUENCE_MASK) - _HALF
