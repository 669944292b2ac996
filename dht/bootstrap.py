"""Where a node without memory begins: bootstrap hosts, and the resolution of their names.

The list is probed as a whole at every cold start, because such hosts die: of those that clients
shipped in 2020 half are silent. Which of them answered is reported, so that a user sees why a node
does not get in.

Spec: BEP 5 "Routing Table"; hosts seen answering by client projects in 2025 and 2026.
"""

import socket
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

import trio

from dht.contact import Endpoint, Family, Scope, endpoint, family_of, is_allowed

RESOLVE_TIMEOUT_S: Final = 5.0
"""Seconds for the name service to answer; all hosts are asked at once."""

ADDRESSES_PER_HOST_MAX: Final = 4
"""Addresses used of one host and family, whatever the name service returns."""


class BootstrapHost(NamedTuple):
    """A host that is asked for nodes.

    Attributes:
        host: A name or a literal address.
        port: Its UDP port.
        is_router: Whether it serves the public as an entry and must not be kept in routing tables
            (BEP 5). An ordinary node that a user names is kept like any other.
    """

    host: str
    port: int
    is_router: bool = True

    def __str__(self) -> str:
        """Return `host:port`, an IPv6 literal in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


PUBLIC_HOSTS: Final = (
    BootstrapHost("dht.libtorrent.org", 25401),
    BootstrapHost("dht.transmissionbt.com", 6881),
    BootstrapHost("router.bittorrent.com", 6881),
    BootstrapHost("router.utorrent.com", 6881),
    BootstrapHost("router.bt.ouinet.work", 6881),
)
"""Used when nothing else is asked for."""


@dataclass(frozen=True, slots=True)
class ResolvedHost:
    """A bootstrap host and its addresses.

    Attributes:
        host: As configured.
        endpoints: Its addresses of the wanted families; empty if the name service knows none or did
            not answer.
    """

    host: BootstrapHost
    endpoints: tuple[Endpoint, ...]


class HostFate(StrEnum):
    """What can become of a bootstrap host."""

    ANSWERED = "answered"
    SILENT = "silent"
    NO_ADDRESS = "no address"
    """The name service knows none of our families, or did not answer."""
    OUT_OF_REACH = "out of reach of the bound address"
    """Of another scope: a private address, say, while we are bound to loopback."""
    NOT_ASKED = "not asked"
    """It was not needed, or not yet."""


@dataclass(frozen=True, slots=True)
class BootstrapOutcome:
    """What became of one bootstrap host.

    Attributes:
        host: As configured.
        endpoints: Its addresses of our families.
        fate: What became of it.
        rtt_s: Seconds that its fastest address took to answer; None if none did.
    """

    host: BootstrapHost
    endpoints: tuple[Endpoint, ...]
    fate: HostFate
    rtt_s: float | None = None


def judge(
    resolved: ResolvedHost,
    answered: Mapping[Endpoint, float],
    silent: Collection[Endpoint],
    bound: Mapping[Family, Scope],
) -> BootstrapOutcome:
    """Tell what became of a host: one address that answered is enough.

    Args:
        resolved: The host.
        answered: Endpoints of any hosts that answered, and the seconds they took.
        silent: Those that did not.
        bound: The scope of our own address in each family, which decides who can be reached.
    """
    ends = resolved.endpoints
    if not ends:
        fate = HostFate.NO_ADDRESS
    elif not any(is_allowed(it, bound[family_of(it)]) for it in ends):
        fate = HostFate.OUT_OF_REACH
    elif any(it in answered for it in ends):
        fate = HostFate.ANSWERED
    else:
        fate = HostFate.SILENT if any(it in silent for it in ends) else HostFate.NOT_ASKED
    rtt_s = min((answered[it] for it in ends if it in answered), default=None)
    return BootstrapOutcome(resolved.host, ends, fate, rtt_s)


async def resolve_hosts(
    hosts: Iterable[BootstrapHost], families: Sequence[Family]
) -> list[ResolvedHost]:
    """Look up all hosts at once; takes at most `RESOLVE_TIMEOUT_S` seconds and never fails."""
    asked = list(hosts)
    found: dict[BootstrapHost, tuple[Endpoint, ...]] = {}

    async def look_up(host: BootstrapHost) -> None:
        found[host] = await _addresses(host, families)

    with trio.move_on_after(RESOLVE_TIMEOUT_S):
        async with trio.open_nursery() as nursery:
            for host in asked:
                nursery.start_soon(look_up, host)
    return [ResolvedHost(host, found.get(host, ())) for host in asked]


async def _addresses(host: BootstrapHost, families: Sequence[Family]) -> tuple[Endpoint, ...]:
    try:
        answers = await trio.socket.getaddrinfo(host.host, host.port, type=socket.SOCK_DGRAM)
    except OSError:
        return ()
    all_endpoints = dict.fromkeys(endpoint(str(address[0]), host.port) for *_, address in answers)
    return tuple(
        it
        for family in families
        for it in [at for at in all_endpoints if len(at) == family.endpoint_bytes][
            :ADDRESSES_PER_HOST_MAX
        ]
    )


def parse_host(text: str) -> BootstrapHost:
    """Read `HOST:PORT` or `[IPV6]:PORT`; one of `PUBLIC_HOSTS` is recognised as a router.

    Raises:
        ValueError: There is no host, or no port from 1 to 65535.
    """
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65_536:
        raise ValueError(f"{text!r} is not HOST:PORT")
    is_public = host.lower() in {it.host for it in PUBLIC_HOSTS}
    return BootstrapHost(host, int(port), is_router=is_public)
