"""libtorrent on loopback, driven from trio: the client of another project to hold ours against.

A client speaks to nobody but the nodes it is told of. It waits for alerts, and whatever it waited
for in vain is reported with the last that it said.
"""

import socket
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final, Literal, TypeAlias, TypeVar, cast

import libtorrent as lt
import trio

from dht.bootstrap import BootstrapHost
from dht.contact import Endpoint, endpoint, host_of, port_of
from dht.keyspace import InfoHash, NodeId

PATIENCE_S: Final = 15.0
"""Seconds until a wait is given up; libtorrent acts within one, but for its uTP timeout of four."""

_LOG_LINES: Final = 40

_ALERTS: Final = (
    lt.alert_category.status
    | lt.alert_category.error
    | lt.alert_category.dht
    | lt.alert_category.dht_operation
    | lt.alert_category.connect
)

QUIET: Final[dict[str, bool]] = {
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
}
"""No way to find anybody but the DHT."""

NEIGHBOURLY: Final[dict[str, bool]] = {
    "dht_restrict_routing_ips": False,
    "dht_restrict_search_ips": False,
    "dht_ignore_dark_internet": False,
    "dht_enforce_node_id": False,
    "dht_prefer_verified_node_ids": False,
    "allow_multiple_connections_per_ip": True,
}
"""Many nodes and peers at one address are neighbours here and no attack."""

TCP_ONLY: Final[dict[str, bool]] = {"enable_outgoing_utp": False, "enable_incoming_utp": False}
"""By default a peer is dialled by uTP first, which takes some four seconds to fail."""

Extension: TypeAlias = Literal["ut_metadata", "ut_pex", "smart_ban"]

EXTENSIONS: Final[tuple[Extension, ...]] = ("ut_metadata", "ut_pex", "smart_ban")
"""What libtorrent speaks as it comes."""

AlertT = TypeVar("AlertT", bound=lt.alert)
ResultT = TypeVar("ResultT")


class Client:
    """A libtorrent session; made by `open_client`."""

    def __init__(
        self, host: str, settings: Mapping[str, object], extensions: Iterable[Extension]
    ) -> None:
        self._host = host
        self._session = lt.session(cast("lt.settings_pack", dict(settings)), 0)
        for extension in extensions:
            self._session.add_extension(extension)
        self._awake, self._alarm = socket.socketpair()
        self._awake.setblocking(False)
        self._alarm.setblocking(False)
        self._session.set_alert_fd(self._alarm.fileno())
        self._said: deque[str] = deque(maxlen=_LOG_LINES)

    @property
    def endpoint(self) -> Endpoint:
        """Where it listens, on TCP and UDP alike."""
        return endpoint(self._host, self._session.listen_port())

    def as_bootstrap_host(self) -> BootstrapHost:
        """Return it as a host for a node of ours to begin with."""
        return BootstrapHost(self._host, self._session.listen_port(), is_router=False)

    async def wait_joined(self) -> None:
        """Wait until its first search of the DHT is over."""
        await self.wait_alert(lt.dht_bootstrap_alert, lambda _: True)

    def add(self, torrent: lt.add_torrent_params, folder: Path) -> lt.torrent_handle:
        """Let it seed or fetch a torrent at once, rather than when it gets round to it."""
        torrent.save_path = str(folder)
        torrent.flags &= ~(lt.torrent_flags.paused | lt.torrent_flags.auto_managed)
        return self._session.add_torrent(torrent)

    async def get_peers(self, info_hash: InfoHash) -> list[Endpoint]:
        """Let it search for peers, and return the first that it finds."""

        def found(alert: lt.dht_get_peers_reply_alert) -> list[Endpoint]:
            if alert.info_hash.to_bytes() != info_hash:
                return []
            return [endpoint(host, port) for host, port in alert.peers()]

        self._session.dht_get_peers(lt.sha1_hash(info_hash))
        return await self.wait_alert(lt.dht_get_peers_reply_alert, found)

    def announce(self, info_hash: InfoHash, port: int) -> None:
        """Let it announce a peer at its own address."""
        self._session.dht_announce(lt.sha1_hash(info_hash), port, 0)

    async def sample(self, node: Endpoint, target: NodeId) -> tuple[list[bytes], int, int]:
        """Let it ask a node for samples; return them, the number of all, and the interval."""

        def answer(
            alert: lt.dht_sample_infohashes_alert,
        ) -> list[tuple[list[bytes], int, int]]:
            samples = [it.to_bytes() for it in alert.samples]
            return [(samples, alert.num_infohashes, round(alert.interval.total_seconds()))]

        where = (host_of(node), port_of(node))
        self._session.dht_sample_infohashes(where, lt.sha1_hash(target))
        return (await self.wait_alert(lt.dht_sample_infohashes_alert, answer))[0]

    async def put_text(self, text: bytes) -> bytes:
        """Let it put an immutable item, and return the target."""
        target = self._session.dht_put_immutable_item(text).to_bytes()
        await self.wait_alert(lt.dht_put_alert, lambda alert: alert.num_success)
        return target

    async def put_signed(
        self, expanded_key: bytes, public_key: bytes, text: bytes, salt: bytes
    ) -> None:
        """Let it put a mutable item, after the newest that it finds."""
        self._session.dht_put_mutable_item(expanded_key, public_key, text, salt)
        await self.wait_alert(lt.dht_put_alert, lambda alert: alert.num_success)

    async def get_text(self, target: bytes) -> object:
        """Let it search for an immutable item, and return what that holds."""

        def found(alert: lt.dht_immutable_item_alert) -> list[object]:
            return [alert.item] if alert.target.to_bytes() == target else []

        self._session.dht_get_immutable_item(lt.sha1_hash(target))
        return (await self.wait_alert(lt.dht_immutable_item_alert, found))[0]

    async def get_signed(self, public_key: bytes, salt: bytes) -> tuple[int, object]:
        """Let it search for a mutable item to the end; return its number and what it holds."""

        def found(alert: lt.dht_mutable_item_alert) -> list[tuple[int, object]]:
            is_it = alert.key == public_key and alert.salt == salt and alert.authoritative
            return [(alert.seq, alert.item)] if is_it else []

        self._session.dht_get_mutable_item(public_key, salt)
        return (await self.wait_alert(lt.dht_mutable_item_alert, found))[0]

    async def meet(self, node: Endpoint, own_id: NodeId) -> None:
        """Tell it of a DHT node, and wait until that is in its table for having answered.

        Args:
            node: Whom it shall ask.
            own_id: Its own id.
        """

        def nodes(alert: lt.dht_live_nodes_alert) -> list[set[Endpoint]]:
            return [{endpoint(*known["endpoint"]) for known in alert.nodes}]

        self._session.add_dht_node((host_of(node), port_of(node)))
        live: set[Endpoint] = set()
        while node not in live:
            self._session.dht_live_nodes(lt.sha1_hash(own_id))
            (live,) = await self.wait_alert(lt.dht_live_nodes_alert, nodes)

    async def wait_alert(
        self,
        kind: type[AlertT],
        read: Callable[[AlertT], ResultT],
        *,
        timeout_s: float = PATIENCE_S,
    ) -> ResultT:
        """Wait for an alert in which `read` finds something, and return that; skip all others.

        Raises:
            AssertionError: It did not come in time.
        """
        with trio.move_on_after(timeout_s):
            while True:
                # An alert must not be touched after the next ones were taken.
                for alert in self._session.pop_alerts():
                    self._said.append(f"{alert.what()}: {alert.message()}")
                    if isinstance(alert, kind) and (result := read(alert)):
                        return result
                await self._wait_alarm()
        raise AssertionError("\n".join([f"no {kind.__name__} within {timeout_s} s", *self._said]))

    def close(self) -> None:
        """End the session; blocks until its sockets are closed."""
        self._session.pause()
        del self._session
        self._awake.close()
        self._alarm.close()

    async def _wait_alarm(self) -> None:
        await trio.lowlevel.wait_readable(self._awake)
        with suppress(BlockingIOError):
            while self._awake.recv(4096):
                pass


@asynccontextmanager
async def open_client(
    host: str,
    bootstrap: Iterable[BootstrapHost] = (),
    extensions: Iterable[Extension] = EXTENSIONS,
    /,
    **settings: int,
) -> AsyncIterator[Client]:
    """Run libtorrent for the time of the block.

    Args:
        host: The loopback address to bind.
        bootstrap: The only nodes it is told of.
        extensions: What it speaks besides the peer protocol.
        settings: What differs from `QUIET`, `NEIGHBOURLY` and libtorrent's defaults.
    """
    pack = {
        "listen_interfaces": f"[{host}]:0" if ":" in host else f"{host}:0",
        "dht_bootstrap_nodes": ",".join(map(str, bootstrap)),
        "alert_mask": _ALERTS,
        **QUIET,
        **NEIGHBOURLY,
        **settings,
    }
    client = Client(host, pack, extensions)
    try:
        yield client
    finally:
        # It takes a moment to hang up, which must not keep our nodes from answering it.
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(client.close)


async def until(condition: Callable[[], bool], *, timeout_s: float = PATIENCE_S) -> None:
    """Wait for something on our side that no event tells.

    Raises:
        trio.TooSlowError: It did not happen in time.
    """
    with trio.fail_after(timeout_s):
        while not condition():  # noqa: ASYNC110 - that no event tells
            await trio.sleep(0.01)
