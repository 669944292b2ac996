"""How it goes with having a port mapped."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from dht.contact import Endpoint


class Phase(StrEnum):
    """Where it stands."""

    OFF = "off"
    TRYING = "trying"
    MAPPED = "mapped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class MappingStatus:
    """How it goes.

    Attributes:
        phase: Where it stands.
        method: Name of the mapper that succeeded last; None until one has.
        external: Where strangers reach us, as the router says; None while nothing is mapped.
        grants: Leases got so far, renewals included.
        failures: Requests that failed, of any mapper.
        reasons: Why each mapper failed the last time; empty while the port is mapped.
    """

    phase: Phase = Phase.OFF
    method: str | None = None
    external: Endpoint | None = None
    grants: int = 0
    failures: int = 0
    reasons: tuple[str, ...] = ()


NOT_MAPPED: Final = MappingStatus()
"""How it goes where nothing is to be mapped."""
