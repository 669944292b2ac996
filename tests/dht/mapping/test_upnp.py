"""The mapper for UPnP, with a stand-in for the library; `tests/interop` asks a real router."""

from collections.abc import Callable

import pytest

from dht.contact import endpoint
from dht.errors import MappingFailed
from dht.mapping import upnp
from dht.mapping.lease import LIFETIME_S, Lease, Transport, Wish
from dht.mapping.upnp import NOBODY, PERMANENT_ONLY, UpnpMapper

WISH = Wish(Transport.UDP, 6881, 7000, lifetime_s=600)
LEASE = Lease(Transport.UDP, 6881, endpoint("45.9.0.2", 7000), 600)


class FakeRouter:
    """What `miniupnpc.UPnP` gives, as far as it is used."""

    lanaddr = "192.168.1.2"

    def __init__(self) -> None:
        self.mappings: dict[tuple[int, str], tuple[str, int]] = {}
        self.leases: list[int] = []
        self.searches = 0
        self.fails_with: Exception | None = None
        self.permanent_only = False

    def discover(self) -> int:
        self.searches += 1
        if self.fails_with is not None:
            raise self.fails_with
        return 1

    def selectigd(self) -> str:
        return "http://192.168.1.1/"

    def getspecificportmapping(self, port: int, protocol: str) -> tuple[object, ...] | None:
        held = self.mappings.get((port, protocol))
        return None if held is None else (*held, "", True, 0)

    def addportmapping(self, *wanted: object) -> bool:
        external, protocol, host, port, _, _, lease = wanted
        if self.fails_with is not None:
            raise self.fails_with
        if self.permanent_only and lease:
            raise Exception(PERMANENT_ONLY)
        assert isinstance(external, int)
        assert isinstance(port, int)
        assert isinstance(lease, int)
        self.mappings[external, str(protocol)] = str(host), port
        self.leases.append(lease)
        return True

    def deleteportmapping(self, port: int, protocol: str) -> bool:
        del self.mappings[port, protocol]
        return True

    def externalipaddress(self) -> str:
        return "45.9.0.2"


@pytest.fixture
def router(monkeypatch: pytest.MonkeyPatch) -> FakeRouter:
    """The one router on a private network."""
    found = FakeRouter()

    def make(*, multicastif: str, discoverdelay: int) -> FakeRouter:
        assert (multicastif, discoverdelay) == ("192.168.1.2", upnp.DISCOVERY_MS)
        return found

    monkeypatch.setattr("miniupnpc.UPnP", make)
    monkeypatch.setattr(upnp, "private_address", lambda: bytes([192, 168, 1, 2]))
    return found


@pytest.mark.parametrize(
    ("words", "reason"), [(NOBODY, "no router answers"), ("Invalid Args", "Invalid Args")]
)
async def test_no_router_is_no_mapping(router: FakeRouter, words: str, reason: str) -> None:
    router.fails_with = Exception(words)
    with pytest.raises(MappingFailed, match=reason):
        await UpnpMapper().map(WISH)


async def test_a_bug_of_ours_is_not_taken_for_a_router(router: FakeRouter) -> None:
    router.fails_with = TypeError("ours")
    with pytest.raises(TypeError, match="ours"):
        await UpnpMapper().map(WISH)


async def test_a_port_of_somebody_else_is_left_to_him(router: FakeRouter) -> None:
    router.mappings[7000, "UDP"] = "192.168.1.3", 6881
    with pytest.raises(MappingFailed, match=r"maps port 7000 to 192\.168\.1\.3"):
        await UpnpMapper().map(WISH)


async def test_a_port_is_mapped_renewed_and_given_back(router: FakeRouter) -> None:
    mapper = UpnpMapper()
    assert await mapper.map(WISH) == LEASE
    assert await mapper.map(WISH) == LEASE
    assert router.mappings == {(7000, "UDP"): ("192.168.1.2", 6881)}
    assert router.leases == [600, 600]
    await mapper.unmap(LEASE)
    assert router.mappings == {}
    assert router.searches == 1


async def test_a_router_that_is_gone_is_looked_for_again(router: FakeRouter) -> None:
    mapper = UpnpMapper()
    await mapper.map(WISH)
    fail: Callable[..., None] = _fail_once(router)
    router.addportmapping = fail  # type: ignore[method-assign,assignment]
    assert await mapper.map(WISH) == LEASE
    assert router.searches == 2


def _fail_once(router: FakeRouter) -> Callable[..., None]:
    def fail(*_: object) -> None:
        del router.addportmapping
        raise Exception("HTTP error")

    return fail


async def test_an_old_router_has_no_leases(router: FakeRouter) -> None:
    router.permanent_only = True
    assert (await UpnpMapper().map(WISH)).lifetime_s == LIFETIME_S
    assert router.leases == [0]


async def test_what_was_not_mapped_is_not_given_back(router: FakeRouter) -> None:
    await UpnpMapper().unmap(LEASE)
    assert router.searches == 0
