"""The file in which the private key of a user's mutable items lives.

One line: the 32-byte seed of RFC 8032 in hexadecimal digits. It belongs to its owner alone, and a
file that others may read is not used, since its key may be theirs by now.
"""

import os
import secrets
import stat
from pathlib import Path
from typing import Final

from dht.commandline import CommandFailed, ExitCode
from dht.items import SEED_BYTES, SigningKey

OWNER_ONLY: Final = 0o600
"""The permissions of a key file."""

_TEXT_MAX: Final = 1_024
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def load_key(path: Path) -> SigningKey:
    """Read a key.

    Raises:
        CommandFailed: The file holds no key, or is not its owner's alone.
        OSError: It cannot be read; `FileNotFoundError` if there is none.
    """
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_mode & _OTHERS:
            reason = f"{path}: others may read this key; put that right with chmod 600"
            raise CommandFailed(reason, ExitCode.CANNOT_RUN)
        text = file.read(_TEXT_MAX)
    try:
        return SigningKey(bytes.fromhex(text.decode("ascii")))
    except ValueError:
        # What the file holds is nobody's business, so neither it nor the cause is told.
        reason = f"{path} is no key file: not {2 * SEED_BYTES} hexadecimal digits"
        raise CommandFailed(reason, ExitCode.WRONG_USE) from None


def make_key(path: Path) -> SigningKey:
    """Make a key and write it to a new file that only its owner may read.

    Raises:
        OSError: The file cannot be written; `FileExistsError` if there is one.
    """
    seed = secrets.token_bytes(SEED_BYTES)
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
    try:
        with open(number, "w", encoding="ascii") as file:
            file.write(seed.hex() + "\n")
    except OSError:
        # Half a key would stand in the way of the next one.
        path.unlink()
        raise
    return SigningKey(seed)
