"""Finding the router: from the table of routes, if there can be one in between."""

from pathlib import Path

import pytest

from dht.contact import endpoint
from dht.errors import MappingFailed
from dht.mapping import gateway
from dht.mapping.gateway import find_gateway, private_address

LOOPBACK_ROUTE = "Iface\nlo\t00000000\t0100007F\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"


@pytest.fixture
def routes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table of routes that is not the machine's."""
    path = tmp_path / "route"
    monkeypatch.setattr(gateway, "ROUTES", path)
    return path


def test_a_system_without_the_table_is_no_exception(routes: Path) -> None:
    with pytest.raises(MappingFailed, match="cannot be read"):
        find_gateway()


def test_a_machine_without_a_network_has_no_router(routes: Path) -> None:
    routes.write_bytes(b"Iface\n\xff\n")
    with pytest.raises(MappingFailed, match="no default route"):
        find_gateway()


def test_a_router_on_loopback_is_none(routes: Path) -> None:
    routes.write_text(LOOPBACK_ROUTE)
    with pytest.raises(MappingFailed, match="no router is in between"):
        find_gateway()


def test_loopback_is_no_private_address() -> None:
    with pytest.raises(MappingFailed, match="no router is in between"):
        private_address(endpoint("127.0.0.1", 9))
