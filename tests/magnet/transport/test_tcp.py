"""TCP on loopback: what fails, and how it is called; then what connects."""

import pytest
import trio
import trio.testing

from dht.contact import endpoint, family_of
from magnet.errors import PeerDisconnected, PeerTimeout
from magnet.transport.stages import stage
from magnet.transport.tcp import TcpCarrier


async def test_refusal_is_told_in_words() -> None:
    with trio.socket.socket() as sock:
        await sock.bind(("127.0.0.1", 0))
        to = endpoint("127.0.0.1", sock.getsockname()[1])
        with pytest.raises(PeerDisconnected, match="connecting: Connection refused"):
            await TcpCarrier().connect(to)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(113, ""), "No route to host"),
        (OSError("odd"), "odd"),
        (trio.BrokenResourceError(), "connection lost"),
        (trio.ClosedResourceError("closed"), "closed"),
    ],
)
def test_broken_stream_is_the_peers_error(error: Exception, reason: str) -> None:
    async def break_it() -> None:
        with stage("connecting", 1):
            raise error

    with pytest.raises(PeerDisconnected) as caught:
        trio.run(break_it)
    assert (caught.value.stage, caught.value.reason) == ("connecting", reason)
    assert caught.value.__cause__ is error


async def test_deadline_of_a_stage_is_told(autojump_clock: trio.testing.MockClock) -> None:
    with pytest.raises(PeerTimeout, match=r"connecting \(3.0 s\)"), stage("connecting", 3):
        await trio.sleep_forever()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_connects_over_both_families(host: str) -> None:
    (listener,) = await trio.open_tcp_listeners(0, host=host)
    async with listener:
        to = endpoint(host, listener.socket.getsockname()[1])
        async with await TcpCarrier().connect(to) as ours, await listener.accept() as theirs:
            await ours.send_all(b"x")
            assert await theirs.receive_some() == b"x"


@pytest.mark.parametrize(
    ("ours", "to"),
    [
        ("127.0.0.1", "8.8.8.8"),
        ("127.0.0.1", "::1"),
        ("0.0.0.0", "127.0.0.1"),
        ("0.0.0.0", "192.168.1.1"),
        ("10.0.0.1", "192.0.2.1"),
    ],
)
async def test_nothing_is_sent_beyond_where_our_address_may_lead(ours: str, to: str) -> None:
    at = endpoint(ours, 0)
    with pytest.raises(PeerDisconnected, match="out of our reach"):
        await TcpCarrier({family_of(at): at}).connect(endpoint(to, 6881))


@pytest.mark.parametrize(("ours", "host"), [("127.0.0.2", "127.0.0.1"), ("::1", "::1")])
async def test_connects_from_our_own_address(ours: str, host: str) -> None:
    (listener,) = await trio.open_tcp_listeners(0, host=host)
    async with listener:
        at = endpoint(ours, 6881)
        to = endpoint(host, listener.socket.getsockname()[1])
        carrier = TcpCarrier({family_of(at): at})
        async with await carrier.connect(to), await listener.accept() as theirs:
            assert theirs.socket.getpeername()[0] == ours


async def test_address_that_is_not_ours_is_told_in_words() -> None:
    at = endpoint("10.255.255.254", 0)
    with pytest.raises(PeerDisconnected, match="Cannot assign requested address"):
        await TcpCarrier({family_of(at): at}).connect(endpoint("10.255.255.253", 1))
