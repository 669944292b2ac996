"""The state file: never half written, and never a reason not to start."""

from pathlib import Path

import pytest
import trio

from dht import memory
from dht.contact import Contact, Family, endpoint
from dht.keyspace import NodeId
from dht.memory import keep_saved, load_state, save_state
from dht.state import SavedNode, State, encode_state

ID = NodeId(bytes(range(20)))
STATE: State = {
    Family.IPV4: SavedNode(ID, (Contact(NodeId(b"4" * 20), endpoint("45.0.0.1", 6881)),))
}


def write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def read(path: Path) -> bytes:
    return path.read_bytes()


def beside(path: Path) -> list[Path]:
    return list(path.parent.iterdir())


@pytest.fixture
def folder(path: Path) -> Path:
    path.mkdir()
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state"


async def test_without_a_file_there_is_no_state(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert await load_state(None) == {}
    assert await load_state(path) == {}
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "unusable state"),
        (b"\xff" * 100, "unusable state"),
        (encode_state(STATE)[:-1], "unusable state"),
        (encode_state(STATE).replace(b"versioni1e", b"versioni9e"), "not a state of version 1"),
    ],
    ids=["empty", "corrupt", "truncated", "of another version"],
)
async def test_a_bad_file_is_a_warning_and_a_cold_start(
    path: Path, caplog: pytest.LogCaptureFixture, data: bytes, reason: str
) -> None:
    write(path, data)
    assert await load_state(path) == {}
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "starting cold" in record.message
    assert reason in vars(record)["reason"]


async def test_a_huge_file_is_not_read_to_its_end(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)  # Sparse; a read of all of it would not end.
    assert await load_state(path) == {}
    assert "starting cold" in caplog.text


async def test_a_folder_is_a_warning_and_a_cold_start(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert await load_state(folder) == {}
    assert "starting cold" in caplog.text


async def test_a_place_that_cannot_be_written_is_a_warning(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(path, b"a file, where a folder is needed")
    await save_state(path / "state", STATE)
    assert "cannot be saved" in caplog.text


async def test_what_cannot_be_put_in_place_leaves_no_litter(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await save_state(folder, STATE)
    assert "cannot be saved" in caplog.text
    assert beside(folder) == [folder]


async def test_a_write_that_fails_leaves_the_old_state(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write(path, b"old")

    async def fill_disk(self: trio.Path, data: bytes) -> int:
        write(Path(self), data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(trio.Path, "write_bytes", fill_disk)
    await save_state(path, STATE)
    assert read(path) == b"old"
    assert beside(path) == [path]
    assert "No space left" in vars(caplog.records[0])["reason"]


async def test_who_knows_nobody_saves_nothing(path: Path) -> None:
    await save_state(path, {})
    await save_state(path, {Family.IPV4: SavedNode(ID, ())})
    await save_state(None, STATE)
    assert beside(path) == []


async def test_what_is_saved_is_loaded(path: Path) -> None:
    deep = path / "in" / "folders" / "that were missing"
    await save_state(deep, STATE)
    assert await load_state(deep) == STATE
    assert beside(deep) == [deep]


async def test_saving_is_finished_even_when_cancelled(path: Path) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await save_state(path, STATE)
    assert await load_state(path) == STATE


async def test_several_processes_may_save_at_once(path: Path) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(save_state, path, STATE)
    assert await load_state(path) == STATE
    assert beside(path) == [path]


async def test_the_state_is_saved_again_and_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "SAVE_INTERVAL_S", 0.001)
    saves = 0

    def current() -> State:
        nonlocal saves
        saves += 1
        if saves == 3:
            scope.cancel()
        return STATE

    with trio.fail_after(2), trio.CancelScope() as scope:
        await keep_saved(path, current)
    assert saves == 3
    assert await load_state(path) == STATE
