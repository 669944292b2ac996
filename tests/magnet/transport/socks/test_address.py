"""Proxies as users write them: what is none first."""

import pytest

from magnet.hosts import HostPort
from magnet.transport.socks.address import parse_proxy
from magnet.transport.socks.messages import Credentials


@pytest.mark.parametrize(
    "text",
    [
        "",
        "127.0.0.1:1080",
        "http://127.0.0.1:1080",
        "socks4://127.0.0.1:1080",
        "socks5://",
        "socks5://:1080",
        "socks5://host:0x10",
        "socks5://host:65536",
        "socks5://two words",
        "socks5://host/path",
        "socks5://host?query",
    ],
)
def test_what_is_no_proxy(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_proxy(text)


@pytest.mark.parametrize(
    ("text", "at", "credentials"),
    [
        ("socks5://127.0.0.1:9050", HostPort("127.0.0.1", 9050), None),
        ("socks5h://localhost", HostPort("localhost", 1080), None),
        ("socks5://192.168.0.1/", HostPort("192.168.0.1", 1080), None),
        ("socks5://[::1]:9050", HostPort("::1", 9050), None),
        ("socks5://me:p%40ss@proxy.example:1", HostPort("proxy.example", 1), ("me", "p@ss")),
    ],
)
def test_proxies(text: str, at: HostPort, credentials: tuple[str, str] | None) -> None:
    assert parse_proxy(text) == (at, credentials and Credentials(*credentials))
