import pytest
from hypothesis import given
from hypothesis import strategies as st

from dht.contact import Scope
from magnet.urls import (
    TRACKER_SCHEMES,
    URL_BYTES_MAX,
    check_url,
    without_duplicates,
    without_userinfo,
)


def test_a_url_at_the_bound() -> None:
    url = "http://a/"
    padding = "b" * (URL_BYTES_MAX - len(url))
    assert check_url(url + padding, TRACKER_SCHEMES, Scope.GLOBAL) == url + padding
    with pytest.raises(ValueError, match="longer"):
        check_url(url + padding + "b", TRACKER_SCHEMES, Scope.GLOBAL)


@given(
    st.text().map("http://".__add__)
    | st.from_regex(r"(http|udp)://[a-c@:\[\]/?#%.0-9]*", fullmatch=True)
)
def test_any_text_is_kept_or_refused(text: str) -> None:
    try:
        url = check_url(text, TRACKER_SCHEMES, Scope.GLOBAL)
    except ValueError:
        return
    assert check_url(url, TRACKER_SCHEMES, Scope.GLOBAL) == url
    assert without_duplicates([url, url]) == [url]


def test_places_are_compared_and_not_texts() -> None:
    urls = ["http://A/", "HTTP://a:80", "http://a/?", "http://a/b", "http://u:p@a/", "https://a/"]
    assert without_duplicates(urls) == ["http://A/", "http://a/b", "http://u:p@a/", "https://a/"]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://user:pass@a.example:80/b@c", "http://a.example:80/b@c"),
        ("http://a.example", "http://a.example"),
        ("udp://u@a:1", "udp://a:1"),
    ],
)
def test_passwords_are_not_shown(url: str, shown: str) -> None:
    assert without_userinfo(url) == shown
