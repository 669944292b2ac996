"""The table of routes, as `/proc/net/route` of Linux 6.1 has it on a little-endian machine."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dht.mapping.routes import default_gateway

HEAD = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
WIFI = "wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n"
CABLE = "eth0\t00000000\t0102A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"
LOCAL = "eth0\t0002A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n"
TUNNEL = "tun0\t00000000\t00000000\t0001\t0\t0\t50\t00000000\t0\t0\t0\n"
DOWN = "eth1\t00000000\t0103A8C0\t0002\t0\t0\t0\t00000000\t0\t0\t0\n"
HALF = "tun1\t00000000\t0104A8C0\t0003\t0\t0\t0\t00000080\t0\t0\t0\n"


@pytest.mark.parametrize(
    "table",
    [
        "",
        HEAD,
        HEAD + LOCAL,
        HEAD + TUNNEL + DOWN + HALF,
        HEAD + CABLE[:30],
        HEAD + CABLE.replace("0003", "xyz"),
        HEAD + CABLE.replace("0102A8C0", "F" * 20),
        HEAD + CABLE.replace("0102A8C0", "-102A8C0"),
    ],
)
def test_without_a_default_route_there_is_no_gateway(table: str) -> None:
    assert default_gateway(table, "little") is None


def test_the_best_default_route_is_taken() -> None:
    for lines in (WIFI + CABLE, CABLE + WIFI, DOWN + WIFI + LOCAL + TUNNEL + HALF + CABLE):
        assert default_gateway(HEAD + lines, "little") == bytes([192, 168, 2, 1])


def test_addresses_are_in_the_order_of_the_machine() -> None:
    assert default_gateway(HEAD + CABLE, "big") == bytes([1, 2, 168, 192])


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    gateway = default_gateway(HEAD + text, "little")
    assert gateway is None or len(gateway) == 4
