"""`dht get` and `dht put` on a network on loopback."""

import json
import stat
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio

from dht import cli
from dht.commandline import CommandFailed, CommonOptions, ExitCode, run
from dht.commandline.options import BindAddress
from dht.errors import ItemConflict
from dht.items import Item, mutable_target
from dht.keyspace import InfoHash, NodeId
from dht.node import Node
from dht.publishing import PutReport
from dht.testnet import Testnet, open_testnet

pytestmark = pytest.mark.usefixtures("logging_as_it_was")

TEXT = "Hello World!"
TARGET = NodeId(bytes.fromhex("e5f96f6f38320f0f33959cb4d3d656452117aadb"))
"""Where that text is found. Source: BEP 44, test vector 3."""
HASH = InfoHash(b"\x5a" * 20)

Printed = Callable[[], Any]


@pytest.fixture
async def network() -> AsyncIterator[Testnet]:
    async with open_testnet(5) as network:
        yield network


def options(network: Testnet, **others: Any) -> CommonOptions:
    bind = (BindAddress("127.0.0.1", 0),)
    return CommonOptions(**{"bootstrap": tuple(network.entry_points(1)), "bind": bind, **others})


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Printed:
    """Return the object printed since the last call."""
    return lambda: json.loads(capsys.readouterr().out)


# Wrong use


@pytest.mark.parametrize(
    ("tokens", "line"),
    [
        (["get"], "requires an argument"),
        (["get", "abc"], "'abc' is not 40 hexadecimal digits"),
        (["get", "00" * 20, "--salt", "abc"], "'abc' is no even number of hexadecimal digits"),
        (["get", "00" * 20, "--salt", "00" * 65], "a salt of 65 bytes; 64 is the most"),
        (["put"], "give a VALUE, a --file or an --info-hash"),
        (["put", "x", "--info-hash", "00" * 20], "give a VALUE, a --file or an --info-hash"),
        (["put", "x" * 996], "the value has 1000 bytes bencoded; 999 is the most"),
        (["put", "x", "--salt", "00"], "--salt and --cas are for items with a --key"),
        (["put", "x", "--cas", "0"], "--salt and --cas are for items with a --key"),
        (["put", "x", "--cas", "-1"], "Must be >= 0"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], tokens: Sequence[str], line: str
) -> None:
    assert run(cli.app, tokens) == ExitCode.WRONG_USE
    shown = capsys.readouterr()
    assert shown.out == ""
    assert line in shown.err
    assert shown.err.count("\n") == 1


def test_a_file_that_is_not_there_is_one_line_and_exit_code_3(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(cli.app, ["put", "--file", str(tmp_path / "none")]) == ExitCode.CANNOT_RUN
    assert capsys.readouterr().err == f"dht: {tmp_path / 'none'}: No such file or directory\n"


def test_a_file_that_is_too_big_is_not_put(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "big"
    path.write_bytes(bytes(100_000))
    assert run(cli.app, ["put", "--file", str(path)]) == ExitCode.WRONG_USE
    assert "999 is the most" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["get", "put"])
def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert run(cli.app, [command, "--help"]) == ExitCode.DONE
    assert "Usage: dht " + command in capsys.readouterr().out


async def test_what_nobody_put_is_not_found(network: Testnet) -> None:
    with pytest.raises(CommandFailed, match="no such item was found") as caught:
        await cli.get(TARGET, options=options(network))
    assert caught.value.exit_code is ExitCode.FAILED


async def test_what_nobody_stores_is_no_success(
    network: Testnet, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def put_item(_node: Node, item: Item) -> PutReport:
        return PutReport(item, (), ())

    monkeypatch.setattr("dht.cli.items.put_item", put_item)
    with pytest.raises(CommandFailed, match="no node stored it") as caught:
        await cli.put(TEXT, options=options(network))
    assert caught.value.exit_code is ExitCode.FAILED


# Immutable


async def test_a_text_is_put_and_found(
    network: Testnet, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await cli.put(TEXT, options=options(network)) is ExitCode.DONE
    shown = capsys.readouterr()
    assert shown.out == f"{TARGET.hex()}\n"
    assert shown.err == "immutable, stored by 5 nodes\n"
    assert await cli.get(TARGET, options=options(network)) is ExitCode.DONE
    shown = capsys.readouterr()
    assert shown.out == f"{TEXT}\n"
    assert shown.err.startswith("immutable, returned by ")


async def test_a_strangers_text_does_not_reach_the_terminal_as_it_is(
    network: Testnet, capsys: pytest.CaptureFixture[str]
) -> None:
    await cli.put("\x1b[31m\nred", options=options(network))
    target = capsys.readouterr().out.strip()
    await cli.get(NodeId(bytes.fromhex(target)), options=options(network))
    assert capsys.readouterr().out == "\\x1b[31m\\nred\n"


async def test_a_file_comes_back_as_it_was(
    network: Testnet, printed: Printed, tmp_path: Path
) -> None:
    path, copy = tmp_path / "file", tmp_path / "copy"
    content = bytes(range(256)) * 3
    await trio.Path(path).write_bytes(content)
    await cli.put(file=path, options=options(network, json=True))
    target = NodeId(bytes.fromhex(printed()["target"]))
    await cli.get(target, file=copy, options=options(network))
    assert await trio.Path(copy).read_bytes() == content


async def test_objects_tell_all(network: Testnet, printed: Printed) -> None:
    await cli.put(TEXT, options=options(network, json=True))
    put = printed()
    assert len(put.pop("stored_by")) == 5
    assert put.pop("elapsed_s") >= 0
    assert put == {
        "target": TARGET.hex(),
        "mutable": False,
        "value": b"12:Hello World!".hex(),
        "text": TEXT,
        "info_hash": None,
    }
    await cli.get(TARGET, options=options(network, json=True))
    got = printed()
    assert got.pop("copies") >= 1
    assert got.pop("elapsed_s") >= 0
    assert got == put


# Mutable


async def test_a_value_takes_the_place_of_the_one_before(
    network: Testnet, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    key = tmp_path / "key"
    await cli.put("one", key=key, options=options(network))
    shown = capsys.readouterr()
    assert f"{key}: a new private key" in shown.err
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    target = shown.out.strip()
    await cli.put("two", key=key, options=options(network))
    shown = capsys.readouterr()
    assert shown.out.strip() == target
    assert shown.err.startswith("number 2 of key ")
    await cli.get(NodeId(bytes.fromhex(target)), options=options(network))
    assert capsys.readouterr().out == "two\n"


async def test_a_key_has_an_item_for_each_salt_and_stays_secret(
    network: Testnet, printed: Printed, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    key = tmp_path / "key"
    await cli.put(info_hash=HASH, key=key, salt=b"n", options=options(network, json=True))
    put = printed()
    public_key = bytes.fromhex(put["key"])
    target = mutable_target(public_key, b"n")
    assert put["target"] == target.hex()
    assert (put["salt"], put["seq"], put["info_hash"]) == ("6e", 1, HASH.hex())
    secret = key.read_text().strip()
    assert secret not in json.dumps(put)
    with pytest.raises(CommandFailed, match="no such item"):
        await cli.get(NodeId(target), options=options(network))
    capsys.readouterr()
    await cli.get(NodeId(target), salt=b"n", options=options(network))
    shown = capsys.readouterr()
    assert shown.out == f"{HASH.hex()}\n"
    assert secret not in shown.err


async def test_an_unexpected_number_leaves_the_item_as_it_is(
    network: Testnet, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    key = tmp_path / "key"
    await cli.put("one", key=key, cas=0, options=options(network))
    target = NodeId(bytes.fromhex(capsys.readouterr().out.strip()))
    for unexpected in (0, 2):
        with pytest.raises(ItemConflict, match="its sequence number is 1"):
            await cli.put("two", key=key, cas=unexpected, options=options(network))
    await cli.get(target, options=options(network))
    assert capsys.readouterr().out == "one\n"
    assert await cli.put("two", key=key, cas=1, options=options(network)) is ExitCode.DONE


async def test_an_item_that_is_to_be_kept_is_put_again(
    network: Testnet, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[Item] = []

    async def keep_published(node: Node, item: Item) -> None:
        await node.wait_joined()
        kept.append(item)

    monkeypatch.setattr("dht.cli.items.keep_published", keep_published)
    assert await cli.put(TEXT, options=options(network)) is ExitCode.DONE
    assert kept == []
    assert await cli.put(TEXT, keep=True, options=options(network)) is ExitCode.DONE
    assert [it.target for it in kept] == [TARGET]
