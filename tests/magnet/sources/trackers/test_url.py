"""URLs of trackers: which ones we do not speak to, and what the others say."""

import pytest

from dht.contact import Family, endpoint
from magnet.errors import SourceError, SourceFault
from magnet.hosts import HostPort
from magnet.sources.reach import Reach
from magnet.sources.trackers.url import OUR_PARAMETERS, TrackerUrl, parse_tracker_url

REACH = Reach({Family.IPV4: endpoint("0.0.0.0", 0)})


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ws://t.example/announce",
        "wss://t.example/announce",
        "ftp://t.example/announce",
        "udp://t.example/announce",
        "udp://t.example:25/announce",
        "udp://t.example:53",
        "http://t.example:22/announce",
        "http://127.0.0.1/announce",
        "http://localhost/announce",
        "http://192.168.0.1/announce",
        "http://0x7f000001/announce",
        "http://169.254.169.254/latest",
        "http://[::1]/announce",
        "http://a@b@t.example/announce",
        "http://t.example/an nounce",
        "http://t.example:port/announce",
        "http://[t.example/announce",
    ],
)
def test_no_tracker_for_us(url: str) -> None:
    with pytest.raises(SourceError, match="no tracker for us") as caught:
        parse_tracker_url(url, REACH)
    assert caught.value.fault is SourceFault.NOT_ALLOWED


@pytest.mark.parametrize("name", sorted(OUR_PARAMETERS))
def test_url_that_speaks_for_us_is_refused(name: str) -> None:
    with pytest.raises(SourceError, match="ours to set"):
        parse_tracker_url(f"http://t.example/announce?a=b&{name.upper()}=1", REACH)


@pytest.mark.parametrize(
    ("url", "scheme", "port"),
    [
        ("udp://t.example:1337/announce", "udp", 1337),
        ("udp://t.example:80", "udp", 80),
        ("http://t.example/announce?passkey=x", "http", 80),
        ("https://t.example/announce", "https", 443),
        ("https://t.example:8443/announce", "https", 8443),
    ],
)
def test_tracker(url: str, scheme: str, port: int) -> None:
    tracker = TrackerUrl(url, scheme, HostPort("t.example", port))
    assert parse_tracker_url(url, REACH) == tracker


def test_password_is_not_shown() -> None:
    tracker = parse_tracker_url("http://me:secret@t.example/announce", REACH)
    assert tracker.label == "http://t.example/announce"


def test_what_is_bound_to_loopback_has_trackers_there() -> None:
    reach = Reach({Family.IPV6: endpoint("::1", 0)})
    assert parse_tracker_url("udp://[::1]:6969", reach).host == HostPort("::1", 6969)
    with pytest.raises(SourceError):
        parse_tracker_url("udp://127.0.0.1:6969", reach)
