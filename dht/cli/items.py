"""The commands for items: `get` and `put`."""

import math
from pathlib import Path
from typing import Annotated, Final

import trio
from cyclopts import Parameter
from cyclopts.validators import Number

from dht.bencode import decode, encode
from dht.cli.app import COMMON, app, asking, count, since
from dht.cli.arguments import HashArgument, IdArgument, SaltOption, Switch
from dht.cli.keyfile import load_key, make_key
from dht.commandline import CommandFailed, CommonOptions, ExitCode, Json, Terminal
from dht.contact import format_endpoint
from dht.errors import InvalidItem, ItemConflict
from dht.items import (
    OWN_VALUE_MAX,
    SEQ_MAX,
    ImmutableItem,
    Item,
    MutableItem,
    SigningKey,
    check_value,
    torrent_of,
    torrent_value,
)
from dht.keyspace import InfoHash
from dht.node import Node, open_node
from dht.publishing import FoundItem, PutReport, get_item, keep_published, put_item, update_item

SeqOption = Annotated[int, Parameter(metavar="SEQ", validator=Number(gte=0, lte=SEQ_MAX))]
TorrentOption = Annotated[HashArgument, Parameter(metavar="HASH")]
FileOption = Annotated[Path, Parameter(metavar="FILE")]

_NO_SALT: Final = b""


@app.command
async def get(
    target: IdArgument,
    /,
    *,
    salt: SaltOption = _NO_SALT,
    file: FileOption | None = None,
    options: CommonOptions = COMMON,
) -> ExitCode:
    """Search for an item, verify it, and print what it holds.

    Args:
        target: 40 hexadecimal digits, as `put` prints them.
        salt: The salt of a mutable item that has one, in hexadecimal digits.
        file: Write what it holds to this file instead of printing it.
    """
    terminal = Terminal(as_json=options.json)
    started = trio.current_time()
    async with asking(options, terminal) as node:
        found = await get_item(node, target, salt=salt)
    if found is None:
        raise CommandFailed("no such item was found")
    content = _content(found.item)
    if file is not None:
        await trio.Path(file).write_bytes(content)
    else:
        terminal.line(_readable(found.item))
    terminal.record({**_describe(found.item), "copies": found.copies, "elapsed_s": since(started)})
    terminal.note(_sum_up(found))
    return ExitCode.DONE


@app.command
async def put(
    value: str | None = None,
    /,
    *,
    file: FileOption | None = None,
    info_hash: TorrentOption | None = None,
    key: FileOption | None = None,
    salt: SaltOption = _NO_SALT,
    cas: SeqOption | None = None,
    keep: Switch = False,
    options: CommonOptions = COMMON,
) -> ExitCode:
    """Store a value of up to 999 bytes in the DHT, and print the target under which it is found.

    With --key the item is mutable: put another value with the same key and salt, and it takes the
    place of the first. Nodes keep an item for two hours.

    Args:
        value: A text; or use --file, or --info-hash.
        file: Store the bytes of this file.
        info_hash: Store a pointer to this torrent.
        key: Sign with the private key in this file, which is made if there is none.
        salt: Which of the key's items it is, in up to 128 hexadecimal digits.
        cas: Put only if the newest item found has this sequence number; 0 if there is none.
        keep: Go on until interrupted, putting it again every hour.
    """
    terminal = Terminal(as_json=options.json)
    encoded = _read_value(value, file, info_hash)
    signing_key = _open_key(key, terminal)
    if signing_key is None and (salt or cas is not None):
        raise CommandFailed("--salt and --cas are for items with a --key", ExitCode.WRONG_USE)
    started = trio.current_time()
    async with asking(options, terminal) as node:
        report = await _put(node, encoded, signing_key, salt, cas)
    if not report.stored_by:
        raise CommandFailed("no node stored it")
    stored_by: list[Json] = [format_endpoint(it.endpoint) for it in report.stored_by]
    terminal.result(
        {**_describe(report.item), "stored_by": stored_by, "elapsed_s": since(started)},
        report.item.target.hex(),
    )
    terminal.note(f"{_name(report.item)}, stored by {count(len(report.stored_by), 'node')}")
    if keep:
        await _keep(report.item, options)
    return ExitCode.DONE


async def _put(
    node: Node, value: bytes, key: SigningKey | None, salt: bytes, cas: int | None
) -> PutReport:
    if key is None:
        return await put_item(node, ImmutableItem(value))

    def revise(newest: MutableItem | None) -> bytes:
        seq = newest.seq if newest is not None else 0
        if cas is not None and cas != seq:
            raise ItemConflict(seq)
        return value

    return await update_item(node, key, revise, salt=salt)


async def _keep(item: Item, options: CommonOptions) -> None:
    """Keep an item published by a node that stays, and so answers others too."""
    with trio.move_on_after(options.timeout or math.inf):
        async with open_node(options.node_settings()) as node:
            await keep_published(node, item)


def _read_value(text: str | None, file: Path | None, info_hash: InfoHash | None) -> bytes:
    """Return the value that is to be put, bencoded."""
    given = [it for it in (text, file, info_hash) if it is not None]
    if len(given) != 1:
        raise CommandFailed("give a VALUE, a --file or an --info-hash", ExitCode.WRONG_USE)
    if info_hash is not None:
        return torrent_value(info_hash)
    content = _read_file(file) if file is not None else str(text).encode()
    value = encode(content)
    try:
        check_value(value)
    except InvalidItem as error:
        raise CommandFailed(str(error), ExitCode.WRONG_USE) from error
    return value


def _read_file(path: Path) -> bytes:
    with path.open("rb") as file:
        # One byte more than fits, so that what is too big is noticed.
        return file.read(OWN_VALUE_MAX + 1)


def _open_key(path: Path | None, terminal: Terminal) -> SigningKey | None:
    if path is None:
        return None
    try:
        return load_key(path)
    except FileNotFoundError:
        key = make_key(path)
        terminal.note(f"{path}: a new private key; who has it can change the item")
        return key


def _content(item: Item) -> bytes:
    """Return what an item holds: the bytes of a string, the bencoding of anything else."""
    value = decode(item.value)
    return value if isinstance(value, bytes) else item.value


def _readable(item: Item) -> str:
    pointed = torrent_of(item.value)
    if pointed is not None:
        return pointed.hex()
    return _content(item).decode("utf-8", "backslashreplace")


def _describe(item: Item) -> dict[str, Json]:
    pointed = torrent_of(item.value)
    described: dict[str, Json] = {
        "target": item.target.hex(),
        "mutable": isinstance(item, MutableItem),
        "value": item.value.hex(),
        "text": _content(item).decode("utf-8", "backslashreplace"),
        "info_hash": pointed.hex() if pointed is not None else None,
    }
    if isinstance(item, MutableItem):
        described |= {
            "key": item.key.hex(),
            "salt": item.salt.hex(),
            "seq": item.seq,
            "signature": item.signature.hex(),
        }
    return described


def _sum_up(found: FoundItem) -> str:
    warning = "; its owner signed another value under this number" if found.is_forked else ""
    return f"{_name(found.item)}, returned by {count(found.copies, 'node')}{warning}"


def _name(item: Item) -> str:
    if isinstance(item, MutableItem):
        return f"number {item.seq} of key {item.key.hex()}"
    return "immutable"
