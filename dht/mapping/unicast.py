"""Mappers that ask the router itself: PCP, and NAT-PMP, which it replaced.

Spec: RFC 6886; RFC 6887.
"""

import secrets
from collections.abc import Callable
from enum import IntEnum

from dht.contact import Endpoint, port_of
from dht.errors import MappingFailed
from dht.mapping import natpmp, pcp
from dht.mapping.exchange import ask
from dht.mapping.gateway import Gateway, find_gateway
from dht.mapping.lease import Lease, Wish


class NatPmpMapper:
    """Maps ports with NAT-PMP."""

    name = "NAT-PMP"

    def __init__(self, find: Callable[[], Gateway] = find_gateway) -> None:
        """Say how the router is found, each time anew: a machine may have moved."""
        self._find = find

    async def map(self, wish: Wish) -> Lease:
        """As `PortMapper.map`."""
        router = self._find().at
        reply = await self._ask_for(router, wish)
        said: natpmp.AddressReply | natpmp.Refusal = await ask(
            router, natpmp.encode_address_request(), _read_address
        )
        if isinstance(said, natpmp.Refusal):
            raise _refused(said.result, natpmp.Result)
        external = Endpoint(said.address + reply.external_port.to_bytes(2))
        return Lease(wish.transport, wish.port, external, reply.lifetime_s)

    async def unmap(self, lease: Lease) -> None:
        """As `PortMapper.unmap`."""
        await self._ask_for(self._find().at, Wish(lease.transport, lease.port, 0, lifetime_s=0))

    async def _ask_for(self, router: Endpoint, wish: Wish) -> natpmp.MapReply:
        def read(data: bytes) -> natpmp.MapReply | natpmp.Refusal | None:
            reply = natpmp.decode_reply(data)
            if isinstance(reply, natpmp.MapReply):
                return reply if (reply.transport, reply.port) == wish[:2] else None
            return reply if isinstance(reply, natpmp.Refusal) else None

        reply: natpmp.MapReply | natpmp.Refusal = await ask(
            router, natpmp.encode_map_request(wish), read
        )
        if isinstance(reply, natpmp.Refusal):
            raise _refused(reply.result, natpmp.Result)
        if wish.lifetime_s and not (reply.external_port and reply.lifetime_s):
            raise MappingFailed("the router granted nothing")
        return reply


class PcpMapper:
    """Maps ports with PCP."""

    name = "PCP"

    def __init__(self, find: Callable[[], Gateway] = find_gateway) -> None:
        """Say how the router is found, each time anew: a machine may have moved."""
        self._find = find
        self._nonce = secrets.token_bytes(pcp.NONCE_BYTES)

    async def map(self, wish: Wish) -> Lease:
        """As `PortMapper.map`."""
        reply = await self._ask_for(wish)
        if not (port_of(reply.external) and reply.lifetime_s):
            raise MappingFailed("the router granted nothing")
        return Lease(wish.transport, wish.port, reply.external, reply.lifetime_s)

    async def unmap(self, lease: Lease) -> None:
        """As `PortMapper.unmap`."""
        await self._ask_for(Wish(lease.transport, lease.port, 0, lifetime_s=0))

    async def _ask_for(self, wish: Wish) -> pcp.MapReply:
        gateway = self._find()

        def read(data: bytes) -> pcp.Reply | None:
            reply = pcp.decode_reply(data)
            if isinstance(reply, pcp.Refusal):
                return reply
            is_ours = (reply.nonce, *reply[1:3]) == (self._nonce, *wish[:2])
            return reply if is_ours else None

        request = pcp.encode_map_request(wish, gateway.client, self._nonce)
        reply: pcp.Reply = await ask(gateway.at, request, read)
        if isinstance(reply, pcp.Refusal):
            raise _refused(reply.result, pcp.Result)
        return reply


def _read_address(data: bytes) -> natpmp.AddressReply | natpmp.Refusal | None:
    reply = natpmp.decode_reply(data)
    return None if isinstance(reply, natpmp.MapReply) else reply


def _refused(result: int, results: type[IntEnum]) -> MappingFailed:
    names = {int(it): it.name.replace("_", " ").lower() for it in results}
    return MappingFailed(f"the router refuses: {names.get(result, f'code {result}')}")
