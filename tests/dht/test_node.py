"""The node that programs use: over real loopback, mostly in virtual time."""

import socket
from collections.abc import Awaitable, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
import trio
import trio.testing

from dht.bootstrap import BootstrapHost, HostFate
from dht.contact import Contact, Endpoint, Family, endpoint, host_of, port_of
from dht.errors import CannotListen, NodeClosed, NotBootstrapped, QueryRefused
from dht.keyspace import InfoHash, NodeId
from dht.memory import load_state, save_state
from dht.node import ANNOUNCE_MAX_S, ANNOUNCE_MIN_S, Node, NodeSettings, open_node
from dht.ratelimit import FlowBudget
from dht.state import SavedNode
from dht.testnet import Testnet, as_bootstrap_host, open_testnet
from dht.udp import Datagram, UdpSocket

INFO_HASH = InfoHash(b"mnopqrstuvwxyz123456")
FOUR, SIX = [("127.0.0.1", 0)], [("::1", 0)]


def local(hosts: list[BootstrapHost], *, state: Path | None = None) -> NodeSettings:
    return NodeSettings(bind=FOUR, bootstrap=hosts, state=state)


def fates(node: Node) -> list[HostFate]:
    return [it.fate for it in node.statistics().bootstrap]


def in_flight(node: Node) -> int:
    return sum(it.in_flight for it in node.statistics().engines.values())


async def listen_on(*bind: tuple[str, int]) -> None:
    async with open_node(NodeSettings(bind=bind, bootstrap=())):
        raise AssertionError("listening")


def is_free(at: Endpoint) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((host_of(at), port_of(at)))
    return True


# Where it cannot run


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_two_nodes_do_not_share_a_port(host: str) -> None:
    async with open_node(NodeSettings(bind=[(host, 0)], bootstrap=())) as first:
        (taken,) = first.endpoints.values()
        with pytest.raises(CannotListen, match="in use"):
            await listen_on((host, port_of(taken)))


async def test_one_taken_port_gives_back_the_others(silent_end: Endpoint) -> None:
    async with open_node(NodeSettings(bind=SIX, bootstrap=())) as first:
        (taken,) = first.endpoints.values()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 0))
            free = endpoint(*sock.getsockname())
        with pytest.raises(CannotListen):
            await listen_on(("127.0.0.1", port_of(free)), ("::1", port_of(taken)))
        assert is_free(free)


async def test_a_missing_family_is_a_warning_unless_it_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def without_ipv6(family: int, kind: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(97, "Address family not supported by protocol")
        return real(family, kind)

    real = socket.socket
    monkeypatch.setattr("dht.udp.socket.socket", without_ipv6)
    async with open_node(NodeSettings(bootstrap=())) as node:
        assert list(node.endpoints) == [Family.IPV4]
    assert "not available" in caplog.text
    with pytest.raises(CannotListen):
        await listen_on(("127.0.0.1", 0), ("::1", 0))


async def test_a_machine_without_any_family_cannot_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(97, "Address family not supported by protocol")

    monkeypatch.setattr("dht.udp.socket.socket", refuse)
    with pytest.raises(CannotListen, match="neither IPv4 nor IPv6"):
        await listen_on()


# Who knows nobody


@pytest.mark.parametrize("is_router", [False, True])
async def test_silent_bootstrap_hosts_are_reported(
    patient_clock: trio.testing.MockClock, silent_end: Endpoint, is_router: bool
) -> None:
    hosts = [
        BootstrapHost("127.0.0.1", port_of(silent_end), is_router),
        BootstrapHost("192.0.2.1", 6881),
        BootstrapHost("::1", 6881),
    ]
    async with open_node(local(hosts)) as node:
        assert fates(node) == [HostFate.NOT_ASKED] * 3
        with pytest.raises(NotBootstrapped):
            await node.wait_joined()
        assert fates(node) == [HostFate.SILENT, HostFate.OUT_OF_REACH, HostFate.NO_ADDRESS]


async def test_nothing_is_found_by_who_knows_nobody() -> None:
    async with open_node(local([])) as node:
        with pytest.raises(NotBootstrapped):
            await node.find_node(NodeId(INFO_HASH))
        with pytest.raises(NotBootstrapped):
            await node.announce(INFO_HASH, 6881)
        with node.find_peers(INFO_HASH) as peers:
            with pytest.raises(NotBootstrapped):
                assert [peer async for peer in peers] == []
            assert peers.progress == (0, 0, 0, 0)


async def test_a_later_host_is_enough_even_if_the_first_is_dead(
    patient_clock: trio.testing.MockClock, silent_end: Endpoint
) -> None:
    dead = BootstrapHost("127.0.0.1", port_of(silent_end))
    async with (
        open_testnet(1) as network,
        open_node(local([dead, *network.entry_points()])) as node,
    ):
        await node.wait_joined()
        await trio.sleep(30)
        assert fates(node) == [HostFate.SILENT, HostFate.ANSWERED]


async def test_one_family_is_enough_to_have_joined(
    patient_clock: trio.testing.MockClock, silent_end6: Endpoint
) -> None:
    dead = BootstrapHost("::1", port_of(silent_end6), is_router=False)
    async with (
        open_testnet(10) as network,
        open_node(NodeSettings(bind=SIX + FOUR, bootstrap=[dead, *network.entry_points()])) as node,
    ):
        with trio.fail_after(1.0):
            await node.wait_joined()
        fate = {it.host: it.fate for it in node.statistics().bootstrap}[dead]
        assert fate is HostFate.NOT_ASKED  # As far as is known: its answer is still awaited.


async def test_a_node_keeps_trying(patient_clock: trio.testing.MockClock) -> None:
    async with open_node(local([])) as late:
        at = next(iter(late.endpoints.values()))
    async with open_node(local([as_bootstrap_host(at)])) as node:
        with pytest.raises(NotBootstrapped):
            await node.wait_joined()
        async with open_node(NodeSettings(bind=[("127.0.0.1", port_of(at))], bootstrap=())):
            await trio.sleep(60)
            await node.wait_joined()


# Calls that come to nothing


async def test_forbidden_addresses_are_not_asked() -> None:
    async with open_node(local([])) as node:
        for at in (endpoint("45.0.0.1", 6881), endpoint("::1", 6881), endpoint("127.0.0.1", 0)):
            with pytest.raises(QueryRefused):
                await node.ping(at)
        assert node.statistics().flows_opened == 0


async def test_a_silent_node_is_no_exception(
    patient_clock: trio.testing.MockClock, silent_end: Endpoint
) -> None:
    async with open_node(local([])) as node:
        pong = await node.ping(silent_end)
    assert pong.sender is None
    assert pong.error is not None


async def test_a_search_that_is_left_leaves_nothing_behind(silent_end: Endpoint) -> None:
    async with open_node(local([as_bootstrap_host(silent_end)])) as node:
        with trio.move_on_after(0.001), node.find_peers(INFO_HASH) as peers:
            async for _ in peers:
                pass
        with trio.move_on_after(0.001):
            await node.find_node(NodeId(INFO_HASH))
        with trio.move_on_after(0.001):
            await node.announce(INFO_HASH, 6881)
        # Only what the node itself wants to know is still under way.
        assert in_flight(node) <= 1
        assert node._drivers[0]._listeners == {}


async def test_closing_the_node_ends_what_waits(silent_end: Endpoint) -> None:
    async def wait_for_peers(node: Node) -> None:
        with node.find_peers(INFO_HASH) as peers, pytest.raises(NodeClosed):
            assert [peer async for peer in peers] == []

    async def wait_for(call: Awaitable[object]) -> None:
        with pytest.raises(NodeClosed):
            await call

    settings = local([as_bootstrap_host(silent_end)])
    async with trio.open_nursery() as nursery, open_node(settings) as node:
        nursery.start_soon(wait_for_peers, node)
        nursery.start_soon(wait_for, node.find_node(NodeId(INFO_HASH)))
        nursery.start_soon(wait_for, node.announce(INFO_HASH, 6881))
        nursery.start_soon(wait_for, node.ping(silent_end))
        nursery.start_soon(wait_for, node.wait_joined())
        nursery.start_soon(wait_for, node.keep_announced(INFO_HASH, 6881))
        await trio.testing.wait_all_tasks_blocked()


async def test_a_closed_node_takes_no_calls(silent_end: Endpoint) -> None:
    async with open_node(local([])) as node:
        pass
    with pytest.raises(NodeClosed), node.find_peers(INFO_HASH):
        raise AssertionError("searching")
    for call in (node.ping(silent_end), node.find_node(NodeId(INFO_HASH)), node.wait_joined()):
        with pytest.raises(NodeClosed):
            await call


async def test_an_error_in_the_block_comes_out_as_it_is() -> None:
    with pytest.raises(KeyError):
        await fail_inside()


async def fail_inside() -> None:
    async with open_node(local([])):
        raise KeyError


# Calls that succeed


async def test_joining_and_searching_in_both_families_at_once(testnet: Testnet) -> None:
    settings = NodeSettings(bind=FOUR + SIX, bootstrap=testnet.entry_points())
    async with open_node(settings) as node:
        await node.wait_joined()
        found = await node.find_node(NodeId(INFO_HASH))
        assert {len(it.endpoint) for it in found} == {6, 18}
        assert set(node.ids) == set(node.endpoints) == set(Family)
        assert len(set(node.ids.values())) == 2


@pytest.mark.parametrize("bind", [FOUR, SIX], ids=["IPv4", "IPv6"])
async def test_a_node_of_one_family_uses_that_family(
    testnet: Testnet, bind: list[tuple[str, int]]
) -> None:
    async with open_node(NodeSettings(bind=bind, bootstrap=testnet.entry_points())) as node:
        found = await node.find_node(NodeId(INFO_HASH))
        (family,) = node.endpoints
        assert {len(it.endpoint) for it in found} == {family.endpoint_bytes}


async def test_what_one_announces_another_finds(testnet: Testnet) -> None:
    seeder, seeker = testnet.nodes[1], testnet.nodes[-1]
    holders = await seeder.announce(INFO_HASH, 7_000, seed=True)
    assert len(holders) >= 8
    with seeker.find_peers(INFO_HASH) as peers:
        found = [peer async for peer in peers]
    assert sorted(found) == sorted([endpoint("127.0.0.1", 7_000), endpoint("::1", 7_000)])
    assert peers.progress.peers == 2
    assert peers.progress.answered >= 8
    assert peers.info_hash == INFO_HASH


async def test_the_implied_port_is_the_one_we_send_from(testnet: Testnet) -> None:
    seeder, seeker = testnet.nodes[1], testnet.nodes[-1]
    await seeder.announce(INFO_HASH, 7_000, implied_port=True)
    with seeker.find_peers(INFO_HASH) as peers:
        assert sorted([it async for it in peers]) == sorted(seeder.endpoints.values())


async def test_what_is_asked_before_joining_starts_when_it_can(testnet: Testnet) -> None:
    await testnet.nodes[0].announce(INFO_HASH, 7_000)
    async with open_node(local(testnet.entry_points())) as node:
        with node.find_peers(INFO_HASH) as peers:
            assert [it async for it in peers] == [endpoint("127.0.0.1", 7_000)]


async def test_an_announcement_is_repeated_whether_or_not_it_succeeds(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds: list[float] = []

    async def announce(*_: object, **__: object) -> list[Contact]:
        rounds.append(trio.current_time())
        if len(rounds) == 2:
            raise NotBootstrapped
        return []

    monkeypatch.setattr(Node, "announce", announce)
    node = Node([], FlowBudget(now=0.0), hosts=[], remembered={})
    with trio.move_on_after(3.5 * ANNOUNCE_MAX_S):
        await node.keep_announced(INFO_HASH, 7_000)
    pauses = [after - before for before, after in pairwise(rounds)]
    assert len(pauses) >= 3
    assert all(ANNOUNCE_MIN_S <= it <= ANNOUNCE_MAX_S for it in pauses)


async def test_statistics_tell_what_was_done(testnet: Testnet) -> None:
    statistics = testnet.nodes[0].statistics()
    for family in Family:
        assert statistics.engines[family].nodes >= 8
        assert statistics.engines[family].counts["queries answered"] > 0
        assert statistics.sockets[family]["datagrams sent"] > 0
    assert statistics.flows >= 16
    assert statistics.flows_opened >= statistics.flows


# Memory


async def test_a_node_comes_back_without_its_bootstrap_hosts(
    testnet: Testnet, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    async with open_node(local(testnet.entry_points(), state=state)) as node:
        await node.wait_joined()
        own_ids = node.ids
    async with open_node(local([], state=state)) as node:
        await node.wait_joined()
        assert node.ids == own_ids


async def test_the_state_is_saved_when_the_block_fails(testnet: Testnet, tmp_path: Path) -> None:
    state = tmp_path / "state"
    with pytest.raises(KeyError):
        await join_and_fail(local(testnet.entry_points(), state=state))
    assert len((await load_state(state))[Family.IPV4].contacts) >= 8


async def join_and_fail(settings: NodeSettings) -> None:
    async with open_node(settings) as node:
        await node.wait_joined()
        raise KeyError


async def test_a_family_that_is_not_used_is_not_forgotten(testnet: Testnet, tmp_path: Path) -> None:
    state = tmp_path / "state"
    six = SavedNode(NodeId(b"6" * 20), (Contact(NodeId(b"7" * 20), endpoint("2a00::1", 6881)),))
    await save_state(state, {Family.IPV6: six})
    async with open_node(local(testnet.entry_points(), state=state)) as node:
        await node.wait_joined()
    saved = await load_state(state)
    assert saved[Family.IPV6] == six
    assert len(saved[Family.IPV4].contacts) >= 8


async def test_a_corrupt_state_is_a_cold_start(
    testnet: Testnet, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await trio.Path(tmp_path / "state").write_bytes(b"d7:versioni1e")
    async with open_node(local(testnet.entry_points(), state=tmp_path / "state")) as node:
        await node.wait_joined()
    assert "starting cold" in caplog.text
    assert await load_state(tmp_path / "state")


async def test_sockets_of_the_caller_take_the_place_of_those_in_the_settings() -> None:
    given = UdpSocket.bind("127.0.0.1")
    async with open_node(NodeSettings(bind=[("::1", 0)], bootstrap=()), sockets=[given]) as node:
        assert node.endpoints == {Family.IPV4: given.endpoint}
    # The node has closed it, so its port is free.
    UdpSocket.bind("127.0.0.1", port_of(given.endpoint)).close()


class Listener:
    """Another protocol on a node's sockets, for datagrams that begin with an exclamation mark."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    def recognises(self, data: bytes) -> bool:
        return data.startswith(b"!")

    def receive_batch(self, batch: Sequence[Datagram]) -> None:
        self.heard += [data for data, _ in batch]


async def test_a_closed_node_shares_nothing() -> None:
    async with open_node(local([])) as node:
        pass
    with pytest.raises(NodeClosed), node.share_sockets(Listener()):
        raise AssertionError("sharing")


async def test_another_protocol_may_share_the_sockets_for_a_while() -> None:
    listener = Listener()
    async with open_node(local([])) as ours, open_node(local([])) as theirs:
        at, sock = ours.endpoints[Family.IPV4], theirs.sockets[Family.IPV4]
        with ours.share_sockets(listener):
            sock.send([(b"!heard", at)])
            assert (await theirs.ping(at)).answer is not None
        sock.send([(b"!too late", at)])
        assert (await theirs.ping(at)).answer is not None
    assert listener.heard == [b"!heard"]
