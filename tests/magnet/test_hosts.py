import pytest
from hypothesis import given
from hypothesis import strategies as st

from dht.contact import Scope, endpoint
from magnet.hosts import HostPort, host_port, parse_host_port


@pytest.mark.parametrize(
    ("host", "port", "bound"),
    [
        ("a.example", 0, Scope.GLOBAL),
        ("a.example", 65_536, Scope.GLOBAL),
        ("", 1, Scope.GLOBAL),
        (".", 1, Scope.GLOBAL),
        ("a..b", 1, Scope.GLOBAL),
        ("a b", 1, Scope.GLOBAL),
        ("b\u00fccher.example", 1, Scope.GLOBAL),
        ("a" * 64, 1, Scope.GLOBAL),
        ("a." * 128, 1, Scope.GLOBAL),
        ("127.1", 1, Scope.LOOPBACK),
        ("0x7f000001", 1, Scope.LOOPBACK),
        ("127.0.0.1.", 1, Scope.GLOBAL),
        ("1.2.3.256", 1, Scope.GLOBAL),
        ("01.2.3.4", 1, Scope.GLOBAL),
        ("127.0.0.1", 1, Scope.GLOBAL),
        ("::ffff:127.0.0.1", 1, Scope.GLOBAL),
        ("10.0.0.1", 1, Scope.GLOBAL),
        ("fe80::1", 1, Scope.GLOBAL),
        ("fe80::1%1", 1, Scope.LINK_LOCAL),
        ("224.0.0.1", 1, Scope.GLOBAL),
        ("8.8.8.8", 1, Scope.LOOPBACK),
        ("localhost", 1, Scope.GLOBAL),
        ("LOCALHOST.", 1, Scope.GLOBAL),
        ("x.localhost", 1, Scope.PRIVATE),
    ],
)
def test_a_host_we_must_not_be_led_to_is_refused(host: str, port: int, bound: Scope) -> None:
    with pytest.raises(ValueError, match=r"port|host|address"):
        host_port(host, port, bound)


@pytest.mark.parametrize(
    ("host", "bound", "kept"),
    [
        ("Tracker.Example.", Scope.GLOBAL, "tracker.example"),
        ("xn--bcher-kva.example", Scope.GLOBAL, "xn--bcher-kva.example"),
        ("8.8.8.8", Scope.GLOBAL, "8.8.8.8"),
        ("2A00:1450:0::1", Scope.GLOBAL, "2a00:1450::1"),
        ("::ffff:8.8.8.8", Scope.GLOBAL, "8.8.8.8"),
        ("127.0.0.1", Scope.LOOPBACK, "127.0.0.1"),
        ("localhost", Scope.LOOPBACK, "localhost"),
        ("10.0.0.1", Scope.PRIVATE, "10.0.0.1"),
    ],
)
def test_a_host_is_kept_in_one_form(host: str, bound: Scope, kept: str) -> None:
    assert host_port(host, 6881, bound) == (kept, 6881)


def test_a_literal_is_an_endpoint() -> None:
    assert HostPort("8.8.8.8", 1).literal == endpoint("8.8.8.8", 1)
    assert HostPort("a.example", 1).literal is None


@given(st.text() | st.text(alphabet="[]:.0123456789abcdefx%\u0661-"))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        read = parse_host_port(text, Scope.GLOBAL)
    except ValueError:
        return
    assert parse_host_port(str(read), Scope.GLOBAL) == read
