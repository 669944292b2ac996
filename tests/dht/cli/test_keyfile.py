import os
import stat
from pathlib import Path

import pytest

from dht.cli.keyfile import load_key, make_key
from dht.commandline import CommandFailed, ExitCode


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "key"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_key_that_others_may_read_is_not_used(path: Path, mode: int) -> None:
    make_key(path)
    path.chmod(mode)
    with pytest.raises(CommandFailed, match="chmod 600") as caught:
        load_key(path)
    assert caught.value.exit_code is ExitCode.CANNOT_RUN


@pytest.mark.parametrize("text", ["", "00" * 31, "00" * 33, "0" * 63, "secret", "ü" * 64])
def test_what_is_no_key_is_not_shown(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(CommandFailed) as caught:
        load_key(path)
    assert caught.value.reason == f"{path} is no key file: not 64 hexadecimal digits"
    assert caught.value.exit_code is ExitCode.WRONG_USE
    assert caught.value.__suppress_context__


def test_a_key_is_never_overwritten(path: Path) -> None:
    key = make_key(path)
    with pytest.raises(FileExistsError):
        make_key(path)
    assert load_key(path).public_key == key.public_key


def test_where_there_is_none_there_is_none(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_key(path)


def test_half_a_key_is_not_left(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def break_off(number: int, *_: object, **__: object) -> None:
        os.close(number)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("builtins.open", break_off)
    with pytest.raises(OSError, match="No space left"):
        make_key(path)
    assert not path.exists()


def test_a_new_key_is_its_owners_alone(path: Path) -> None:
    before = os.umask(0)
    try:
        key = make_key(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_key(path).public_key == key.public_key
