import json
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dht.contact import Scope
from dht.keyspace import InfoHash
from magnet.errors import InvalidMagnetURI, LinkFault
from magnet.hosts import HostPort
from magnet.text import printable
from magnet.uri.link import (
    LINK_BYTES_MAX,
    NAME_BYTES_MAX,
    MagnetLink,
    format_magnet,
    parse_magnet,
)

VECTORS = json.loads((Path(__file__).parents[2] / "vectors/magnet_links.json").read_text())["links"]
REFUSED = [vector for vector in VECTORS if "fault" in vector]
READ = [vector for vector in VECTORS if "fields" in vector]
HASH = InfoHash(bytes.fromhex("0123456789abcdef0123456789abcdef01234567"))


def about(vector: dict[str, str]) -> str:
    return vector["about"]


def shown(value: object) -> object:
    """Give a field of a link the form it has in the vectors."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, HostPort):
        return str(value)
    if isinstance(value, tuple):
        return [shown(item) for item in value]
    return value


@pytest.mark.parametrize("vector", REFUSED, ids=about)
def test_a_link_that_names_no_torrent_or_several_is_refused(vector: dict[str, str]) -> None:
    with pytest.raises(InvalidMagnetURI) as caught:
        parse_magnet(vector["link"])
    assert caught.value.fault is LinkFault(vector["fault"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("vector", READ, ids=about)
def test_a_link_is_read(vector: dict[str, object]) -> None:
    assert isinstance(vector["fields"], dict)
    expected = dict(vector["fields"])
    link = parse_magnet(str(vector["link"]), bound=Scope(vector["bound"]))
    assert bool(link.warnings) == expected.pop("warned", False)
    if "swarm_keys" in expected:
        assert shown(link.swarm_keys()) == expected.pop("swarm_keys")
    assert {name: shown(getattr(link, name)) for name in expected} == expected


@pytest.mark.parametrize("vector", READ, ids=about)
def test_a_link_that_was_read_survives_being_written(vector: dict[str, str]) -> None:
    bound = Scope(vector["bound"])
    link = parse_magnet(vector["link"], bound=bound)
    assert parse_magnet(format_magnet(link), bound=bound) == link


def test_an_ambiguous_link_offers_the_choice() -> None:
    with pytest.raises(InvalidMagnetURI) as caught:
        parse_magnet(f"magnet:?xt=urn:btih:{HASH.hex()}&xt=urn:btih:{'cd' * 20}")
    assert caught.value.candidates == (HASH.hex(), "cd" * 20)


def test_one_character_too_many() -> None:
    link = format_magnet(MagnetLink(info_hash=HASH)) + "&dn="
    padding = "a" * (LINK_BYTES_MAX - len(link))
    assert parse_magnet(link + padding).info_hash == HASH
    with pytest.raises(InvalidMagnetURI):
        parse_magnet(link + padding + "a")


def test_what_is_written_is_what_clients_read() -> None:
    link = MagnetLink(
        info_hash=HASH,
        info_hash_v2=bytes(32),
        name="a b/c",
        trackers=("udp://t.example:80",),
        peers=(HostPort("2001:db8::1", 6881),),
        web_seeds=("https://w.example/f",),
        select=(0, 1, 2, 5),
        keywords=("x", "y z"),
    )
    assert format_magnet(link) == (
        f"magnet:?xt=urn:btih:{HASH.hex()}&xt=urn:btmh:1220{'00' * 32}&dn=a%20b%2Fc"
        "&tr=udp%3A%2F%2Ft.example%3A80&x.pe=[2001:db8::1]:6881&ws=https%3A%2F%2Fw.example%2Ff"
        "&so=0-2,5&kt=x+y%20z"
    )


@pytest.mark.parametrize(
    "identity",
    [
        {},
        {"info_hash": bytes(19)},
        {"info_hash_v2": bytes(20)},
        {"public_key": bytes(31)},
        {"info_hash": bytes(20), "salt": b"n"},
        {"public_key": bytes(32), "salt": bytes(65)},
        {"public_key": bytes(32), "salt": b""},
    ],
)
def test_an_impossible_identity_is_refused(identity: dict[str, bytes]) -> None:
    with pytest.raises(ValueError, match=r"info-hash|public key|salt"):
        MagnetLink(**identity)  # type: ignore[arg-type]


@given(
    st.text()
    | st.text(alphabet="&=;:%+#.?/magnetxurbihdlspo0123456789abcdef\ud800").map("magnet:?".__add__)
)
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        link = parse_magnet(text)
    except InvalidMagnetURI:
        return
    assert parse_magnet(format_magnet(link)) == link


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                ["xt", "xs", "s", "dn", "tr", "ws", "as", "x.pe", "dht", "so", "kt", "xl", "q.1"]
            ),
            st.text(max_size=60)
            | st.sampled_from(["urn:btih:", "http://a/", "udp://b:1/%25", "h:1", "%252520", "1-3"]),
        ),
        max_size=20,
    )
)
def test_any_parameters_survive_being_written(parameters: list[tuple[str, str]]) -> None:
    query = "&".join(f"{key}={value}" for key, value in parameters)
    try:
        link = parse_magnet(f"magnet:?xt=urn:btih:{HASH.hex()}&{query}")
    except InvalidMagnetURI:
        return
    assert parse_magnet(format_magnet(link)) == link


T = TypeVar("T")

names = st.text(max_size=300).map(lambda text: printable(text, NAME_BYTES_MAX) or None)
words = st.text(max_size=300).map(lambda text: printable(text, NAME_BYTES_MAX)).filter(bool)
ports = st.integers(1, 65_535)
hosts = st.builds(HostPort, st.sampled_from(["peer.example", "8.8.8.8", "2a00:1450::1"]), ports)
urls = st.builds(
    "{}://{}/{}".format, st.sampled_from(["http", "https"]), st.sampled_from("ab"), st.integers()
)


@st.composite
def links(draw: st.DrawFn) -> MagnetLink:
    v1, v2, key = draw(
        st.tuples(*(st.none() | st.binary(min_size=n, max_size=n) for n in (20, 32, 32))).filter(
            any_known
        )
    )
    return MagnetLink(
        info_hash=None if v1 is None else InfoHash(v1),
        info_hash_v2=v2,
        public_key=key,
        salt=None if key is None else draw(st.none() | st.binary(min_size=1, max_size=64)),
        name=draw(names),
        trackers=draw(distinct(urls)),
        peers=draw(distinct(hosts)),
        nodes=draw(distinct(hosts)),
        web_seeds=draw(distinct(urls)),
        exact_sources=draw(distinct(urls)),
        acceptable_sources=draw(distinct(urls)),
        select=tuple(sorted(draw(st.sets(st.integers(0, 10_000), max_size=30)))),
        keywords=draw(distinct(words)),
        length=draw(st.none() | st.integers(1, 2**63 - 1)),
        unknown=draw(distinct(st.tuples(st.sampled_from(["mt", "x.foo", "e"]), words))),
    )


def any_known(identity: tuple[bytes | None, ...]) -> bool:
    return any(part is not None for part in identity)


def distinct(items: st.SearchStrategy[T]) -> st.SearchStrategy[tuple[T, ...]]:
    return st.lists(items, max_size=4, unique=True).map(tuple)


@given(links())
def test_reading_undoes_writing(link: MagnetLink) -> None:
    assert parse_magnet(format_magnet(link)) == link
