"""Fuzzes what routers and the system say about port mappings: NAT-PMP, PCP, the table of routes."""

import random
import sys

from dht.errors import MalformedReply
from dht.mapping import natpmp, pcp
from dht.mapping.routes import default_gateway
from scripts.fuzzers.fuzzing import Subject, run
from scripts.fuzzers.mutation import Mutator

_MAPPED = bytes(10) + b"\xff\xff" + bytes([45, 9, 0, 2])
_PORTS = b"\x1a\xe1\x1b\x58"

NATPMP_REPLIES = (
    b"\0\x80" + bytes(6) + bytes([45, 9, 0, 2]),
    b"\0\x81" + bytes(6) + _PORTS + bytes([0, 0, 28, 32]),
    b"\0\x82\0\2" + bytes(12),
)
PCP_REPLIES = (
    b"\2\x81\0\0\0\0\x1c\x20" + bytes(16) + bytes(range(12)) + b"\x11\0\0\0" + _PORTS + _MAPPED,
    b"\2\x81\0\x02" + bytes(20),
)
ROUTES = (
    b"Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
    b"eth0\t00000000\t0102A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"
    b"eth0\t0002A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n"
)


def subjects(rng: random.Random) -> list[Subject]:
    """Return what is fuzzed here."""
    old = Mutator(list(NATPMP_REPLIES), rng).next_input
    new = Mutator(list(PCP_REPLIES), rng).next_input
    table = Mutator([ROUTES], rng).next_input
    return [
        Subject("NAT-PMP replies", old, natpmp.decode_reply, (MalformedReply,)),
        Subject("PCP replies", new, read_pcp, (MalformedReply,)),
        Subject("routes", table, read_routes),
    ]


def read_pcp(data: bytes) -> None:
    """Decode a reply, whose endpoint is one of IPv4."""
    reply = pcp.decode_reply(data)
    assert isinstance(reply, pcp.Refusal) or len(reply.external) == 6


def read_routes(data: bytes) -> None:
    """Find the gateway, if there is one."""
    gateway = default_gateway(data.decode("ascii", errors="replace"), "little")
    assert gateway is None or len(gateway) == 4


if __name__ == "__main__":
    run(__doc__ or "", subjects, sys.argv[1:])
