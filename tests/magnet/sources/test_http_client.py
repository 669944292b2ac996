"""Fetching from strangers: whatever leads astray first, then bodies."""

import gzip
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import httpx
import pytest
import trio
import trio.testing
import trustme

from dht.contact import Endpoint, Family, endpoint, port_of
from dht.testnet import LOOPBACK
from magnet.errors import SourceError, SourceFault
from magnet.sources import http_client
from magnet.sources.hostnames import HostNames
from magnet.sources.http_client import (
    LONG_BODIES_MAX,
    REDIRECTS_MAX,
    SHORT_BYTES,
    HttpClient,
    open_http_client,
)
from magnet.sources.reach import Reach
from tests.magnet.sources.conftest import NameService
from tests.magnet.sources.servers import Request, Respond, open_web_server, redirect, response

HOST = "127.0.0.1"
BODY = b"d4:infodee"

Admission = Callable[[Endpoint], Awaitable[None]]


async def get(
    client: HttpClient,
    url: str,
    *,
    bytes_max: int = 1_000,
    timeout_s: float = 5.0,
    family: Family | None = None,
) -> bytes:
    return await client.get(url, bytes_max=bytes_max, timeout_s=timeout_s, family=family)


async def error_of(client: HttpClient, url: str, *, timeout_s: float = 5.0) -> SourceError:
    with pytest.raises(SourceError) as caught:
        await get(client, url, timeout_s=timeout_s)
    return caught.value


@asynccontextmanager
async def serving(answer: bytes | Respond | None) -> AsyncIterator[str]:
    def always(_: Request) -> bytes | None:
        assert not callable(answer)
        return answer

    async with open_web_server(HOST, answer if callable(answer) else always) as url:
        yield url


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1/x",
        "file:///etc/passwd",
        "http:///x",
        "http://127.0.0.1:99999/x",
        "http://8.8.8.8/x",
        "http://192.168.1.1/x",
        "http://[fe80::1%25eth0]/x",
        "http://127.0.0.1:25/x",
        "http://127.1/x",
        "http://a b/x",
        "http://[::1/x",
    ],
)
async def test_url_that_is_not_to_be_gone_to(
    client: HttpClient, url: str, admitted: list[Endpoint]
) -> None:
    assert (await error_of(client, url)).fault is SourceFault.NOT_ALLOWED
    assert not admitted


async def test_port_where_nobody_listens(client: HttpClient) -> None:
    with trio.socket.socket() as sock:
        await sock.bind((HOST, 0))
        error = await error_of(client, f"http://{HOST}:{sock.getsockname()[1]}/")
    assert error.fault is SourceFault.UNREACHABLE
    assert error.detail == "connection refused"


async def test_silent_server(client: HttpClient) -> None:
    async with serving(None) as url:
        error = await error_of(client, url, timeout_s=0.05)
    assert error.fault is SourceFault.TIMEOUT


@pytest.mark.parametrize("status", ["404 Not Found", "500 Oops", "204 No Content", "304 Same"])
async def test_any_status_but_200(client: HttpClient, status: str) -> None:
    async with serving(response(b"", status)) as url:
        error = await error_of(client, url)
    assert error.fault is SourceFault.STATUS
    assert error.detail == f"HTTP status {status[:3]}"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000,
    ],
    ids=["nothing", "ssh", "cut", "bad chunk", "endless header"],
)
async def test_what_is_no_http(client: HttpClient, answer: bytes) -> None:
    async with serving(answer) as url:
        error = await error_of(client, url)
    assert error.fault is SourceFault.MALFORMED
    assert error.detail.startswith("no proper HTTP")


@pytest.mark.parametrize(
    "answer",
    [
        response(bytes(1_001)),
        b"HTTP/1.1 200 OK\r\n\r\n" + bytes(100_000),
        response(gzip.compress(bytes(1_001)), Content_Encoding="gzip"),
        response(gzip.compress(bytes(10_000_000)), Content_Encoding="gzip"),
    ],
    ids=["declared", "undeclared", "unpacked", "bomb"],
)
async def test_body_that_is_too_long(client: HttpClient, answer: bytes) -> None:
    async with serving(answer) as url:
        error = await error_of(client, url)
    assert error.fault in (SourceFault.TOO_LARGE, SourceFault.MALFORMED)


async def test_gzip_bomb_is_not_unpacked(client: HttpClient) -> None:
    bomb = gzip.compress(bytes(20_000_000))
    async with serving(response(bomb, Content_Encoding="gzip")) as url:
        with pytest.raises(SourceError) as caught:
            await get(client, url, bytes_max=2**20)
    assert caught.value.fault is SourceFault.TOO_LARGE


@pytest.mark.parametrize(
    ("body", "encoding"),
    [(b"no gzip", "gzip"), (gzip.compress(BODY)[:-9], "gzip"), (BODY, "br")],
    ids=["no gzip", "cut gzip", "unasked"],
)
async def test_body_packed_wrongly(client: HttpClient, body: bytes, encoding: str) -> None:
    async with serving(response(body, Content_Encoding=encoding)) as url:
        assert (await error_of(client, url)).fault is SourceFault.MALFORMED


async def test_redirects_in_a_circle(client: HttpClient) -> None:
    asked: list[str] = []

    def respond(request: Request) -> bytes:
        asked.append(request.target)
        return redirect("/again")

    async with serving(respond) as url:
        assert (await error_of(client, f"{url}/x")).fault is SourceFault.REDIRECTS
    assert asked == ["/x"] + ["/again"] * REDIRECTS_MAX


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "http://8.8.8.8/",
        "http://192.168.1.1/",
        "//169.254.169.254/",
        "ws:/",
        "http://[::1/",
        "//a b/",
        "http://h:99999/",
        "http://127.0.0.1:25/",
        "//127.0.0.1:53/",
    ],
)
async def test_redirect_astray(client: HttpClient, location: str) -> None:
    async with serving(redirect(location)) as url:
        assert (await error_of(client, url)).fault is SourceFault.NOT_ALLOWED


async def test_redirect_without_a_place(client: HttpClient) -> None:
    async with serving(response(b"", "302 Found")) as url:
        assert (await error_of(client, url)).fault is SourceFault.STATUS


async def test_name_that_leads_to_us_from_the_wide_world(
    name_service: NameService, admission: Admission, admitted: list[Endpoint]
) -> None:
    reach = Reach({Family.IPV4: endpoint("0.0.0.0", 0)})
    name_service.names["rebound.example"] = ["127.0.0.1", "10.0.0.1"]
    async with open_http_client(reach, HostNames(reach), admission) as client:
        error = await error_of(client, "http://rebound.example/")
    assert error.fault is SourceFault.NOT_ALLOWED
    assert not admitted


async def test_redirect_from_the_wide_world_into_our_network(
    name_service: NameService, admission: Admission, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Endpoint] = []

    async def lead_home(_: object, __: object, ends: list[Endpoint], ___: int) -> str:
        asked.extend(ends)
        await trio.lowlevel.checkpoint()
        return "http://192.168.1.1/"

    monkeypatch.setattr(HttpClient, "_exchange", lead_home)
    name_service.names["far.example"] = ["8.8.8.8"]
    reach = Reach({Family.IPV4: endpoint("192.168.1.2", 0)})
    async with open_http_client(reach, HostNames(reach), admission) as client:
        error = await error_of(client, "http://far.example/")
    assert error.fault is SourceFault.NOT_ALLOWED
    assert error.detail == "led from the wide world to here"
    assert asked == [endpoint("8.8.8.8", 80)]


async def test_wait_for_our_own_leave_is_no_fault_of_the_server(
    reach: Reach, names: HostNames, autojump_clock: trio.testing.MockClock
) -> None:
    autojump_clock.autojump_threshold = 0.02
    asked_at: list[float] = []

    def note() -> None:
        asked_at.append(trio.current_time())

    async def admit_late(_: Endpoint) -> None:
        await trio.sleep(100)

    async with open_http_client(reach, names, admit_late) as client:
        async with serving(response(BODY)) as url:
            body = await client.get(url, bytes_max=1_000, timeout_s=5, asking=note)
        async with serving(None) as url:
            assert (await error_of(client, url, timeout_s=2)).fault is SourceFault.TIMEOUT
    assert body == BODY
    assert asked_at == [pytest.approx(100, abs=1)]
    assert trio.current_time() == pytest.approx(202, abs=2)


async def test_server_that_stops_speaking(
    client: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_client, "_TIMEOUT", httpx.Timeout(0.02))
    async with serving(None) as url:
        error = await error_of(client, url)
    assert error.fault is SourceFault.TIMEOUT
    assert error.detail.startswith("no answer in")


async def test_family_without_an_address(client: HttpClient) -> None:
    with pytest.raises(SourceError) as caught:
        await get(client, "http://127.0.0.1/", family=Family.IPV6)
    assert caught.value.fault is SourceFault.NO_ADDRESS


async def test_slow_long_bodies_do_not_keep_us_from_short_ones(
    client: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_client, "_TIMEOUT", httpx.Timeout(5, pool=0.05))
    async with (
        serving(None) as silent,
        serving(response(BODY)) as url,
        trio.open_nursery() as crowd,
    ):

        async def fetch_long() -> None:
            with suppress(SourceError):
                await get(client, silent, bytes_max=2 * SHORT_BYTES)

        for _ in range(4 * http_client.CONNECTIONS_MAX):
            crowd.start_soon(fetch_long)
        await trio.testing.wait_all_tasks_blocked()
        assert await get(client, url) == BODY
        crowd.cancel_scope.cancel()


async def test_long_bodies_are_few_at_the_same_time(client: HttpClient) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n"
    ends: list[SourceError] = []

    async def trickle(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(head + bytes(SHORT_BYTES + 1))
        await trio.sleep_forever()

    async def fetch(url: str) -> None:
        try:
            await get(client, url, bytes_max=4 * SHORT_BYTES)
        except SourceError as error:
            ends.append(error)

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host=HOST)
        nursery.start_soon(trio.serve_listeners, trickle, [listener])
        url = f"http://{HOST}:{listener.socket.getsockname()[1]}/"
        for _ in range(LONG_BODIES_MAX + 2):
            nursery.start_soon(fetch, url)
        with trio.fail_after(5):
            while len(ends) < 2:  # noqa: ASYNC110 - nothing tells of it
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    assert [it.fault for it in ends] == [SourceFault.UNREACHABLE] * 2
    async with serving(response(bytes(2 * SHORT_BYTES))) as url:
        assert len(await get(client, url, bytes_max=2 * SHORT_BYTES)) == 2 * SHORT_BYTES


# TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_context(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


@asynccontextmanager
async def trusting(
    authority: trustme.CA, reach: Reach, admission: Admission
) -> AsyncIterator[HttpClient]:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    names = HostNames(reach)
    async with open_http_client(reach, names, admission, tls=context) as client:
        yield client


async def test_certificate_of_a_stranger_is_not_accepted(
    client: HttpClient, authority: trustme.CA
) -> None:
    context = server_context(authority, HOST)
    async with open_web_server(HOST, lambda _: response(BODY), context) as url:
        error = await error_of(client, url)
    assert error.fault is SourceFault.INSECURE
    assert error.detail.startswith("certificate not accepted: ")


async def test_certificate_of_another_name_is_not_accepted(
    authority: trustme.CA, reach: Reach, admission: Admission, name_service: NameService
) -> None:
    name_service.names["tracker.example"] = [HOST]
    context = server_context(authority, "other.example", HOST)
    async with (
        trusting(authority, reach, admission) as client,
        open_web_server(HOST, lambda _: response(BODY), context) as url,
    ):
        error = await error_of(client, url.replace(HOST, "tracker.example"))
    assert error.fault is SourceFault.INSECURE
    assert "tracker.example" in error.detail


async def test_server_without_tls(client: HttpClient) -> None:
    async with serving(response(BODY)) as url:
        error = await error_of(client, url.replace("http:", "https:"))
    assert error.fault is SourceFault.INSECURE
    assert error.detail.startswith("no TLS")


async def test_redirect_out_of_tls(
    authority: trustme.CA, reach: Reach, admission: Admission
) -> None:
    context = server_context(authority, HOST)
    async with (
        serving(response(BODY)) as plain,
        trusting(authority, reach, admission) as client,
        open_web_server(HOST, lambda _: redirect(plain), context) as url,
    ):
        assert (await error_of(client, url)).fault is SourceFault.INSECURE


async def test_certificates_are_checked_against_the_name(
    authority: trustme.CA, reach: Reach, admission: Admission, name_service: NameService
) -> None:
    name_service.names["tracker.example"] = [HOST]
    name_service.names["other.example"] = [HOST]
    context = server_context(authority, "tracker.example")
    async with (
        trusting(authority, reach, admission) as client,
        open_web_server(HOST, lambda _: response(BODY), context) as url,
    ):
        assert await get(client, url.replace(HOST, "tracker.example")) == BODY
        # No connection is used for another name than that of its certificate.
        error = await error_of(client, url.replace(HOST, "other.example"))
    assert error.fault is SourceFault.INSECURE


# Bodies


async def test_body(client: HttpClient, host: str, admitted: list[Endpoint]) -> None:
    asked: list[Request] = []

    def respond(request: Request) -> bytes:
        asked.append(request)
        return response(BODY, Set_Cookie="a=b")

    async with open_web_server(host, respond) as url:
        target = "/a%41/announce?passkey=%7e&info_hash=%AA%00"
        for _ in range(2):
            assert await get(client, f"{url}{target}#part") == BODY
    assert [it.target for it in asked] == [target, target]
    assert set(asked[1].headers) == {"host", "user-agent", "accept-encoding", "connection"}
    assert asked[0].headers["host"] == url.removeprefix("http://")
    assert [port_of(it) for it in admitted] == [int(url.rpartition(":")[2])] * 2


@pytest.mark.parametrize("encoding", ["gzip", "X-GZIP"])
async def test_packed_body(client: HttpClient, encoding: str) -> None:
    async with serving(response(gzip.compress(BODY), Content_Encoding=encoding)) as url:
        assert await get(client, url) == BODY


async def test_body_without_a_length(client: HttpClient) -> None:
    async with serving(b"HTTP/1.0 200 OK\r\n\r\n" + BODY) as url:
        assert await get(client, url) == BODY


async def test_body_as_long_as_allowed(client: HttpClient) -> None:
    async with serving(response(bytes(1_000))) as url:
        assert await get(client, url) == bytes(1_000)


async def test_redirect_is_followed(client: HttpClient) -> None:
    def respond(request: Request) -> bytes:
        return redirect("../there?x=1") if request.target == "/a/b" else response(BODY)

    async with serving(respond) as url:
        assert await get(client, f"{url}/a/b") == BODY


async def test_redirect_to_another_server(client: HttpClient) -> None:
    async with serving(response(BODY)) as there, serving(redirect(there)) as here:
        assert await get(client, here) == BODY


async def test_name_is_looked_up_and_sent_along(
    client: HttpClient, name_service: NameService
) -> None:
    name_service.names["tracker.example"] = [HOST]
    asked: list[Request] = []

    def respond(request: Request) -> bytes:
        asked.append(request)
        return response(BODY)

    async with serving(respond) as url:
        port = url.rpartition(":")[2]
        assert await get(client, f"http://tracker.example:{port}/x") == BODY
    assert asked[0].headers["host"] == f"tracker.example:{port}"


async def test_next_address_is_tried_where_the_first_is_dead(
    client: HttpClient, name_service: NameService, admitted: list[Endpoint]
) -> None:
    name_service.names["tracker.example"] = ["127.0.0.2", HOST]
    async with serving(response(BODY)) as url:
        port = int(url.rpartition(":")[2])
        assert await get(client, f"http://tracker.example:{port}/x") == BODY
    assert admitted == [endpoint("127.0.0.2", port), endpoint(HOST, port)]


async def test_family_decides_which_way_to_go(
    client: HttpClient, name_service: NameService, family: Family
) -> None:
    name_service.names["tracker.example"] = list(LOOPBACK.values())
    clients: list[str] = []

    def respond(request: Request) -> bytes:
        clients.append(request.host)
        return response(BODY)

    async with open_web_server(LOOPBACK[family], respond) as url:
        port = url.rpartition(":")[2]
        assert await get(client, f"http://tracker.example:{port}/", family=family) == BODY
    assert clients == [LOOPBACK[family]]
