"""The file in which a node's state lives between runs.

It is written beside its name and then renamed, so that a reader sees the old or the new one, whole.
A file that cannot be read costs a warning and a cold start; one that cannot be written costs a
warning.
"""

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final

import trio

from dht.errors import StateError
from dht.logs import get_logger
from dht.state import STATE_BYTES_MAX, State, decode_state, encode_state

_log = get_logger(__name__)

SAVE_INTERVAL_S: Final = 600.0
"""Seconds between saves, so that a crash costs little."""

SAVE_TIMEOUT_S: Final = 5.0
"""Seconds that a node which is being closed may spend on saving."""


async def load_state(path: Path | None) -> State:
    """Read a saved state; an empty one if there is none or it cannot be used, which is logged."""
    if path is None:
        return {}
    try:
        async with await trio.open_file(path, "rb") as file:
            # One byte more than is allowed tells that there is more, whatever the file's size.
            return decode_state(await file.read(STATE_BYTES_MAX + 1))
    except FileNotFoundError:
        return {}
    except (StateError, OSError) as error:
        _log.warning(
            "starting cold: the saved state cannot be used", path=str(path), reason=str(error)
        )
        return {}


async def save_state(path: Path | None, state: State) -> None:
    """Write a state, unless it knows nobody.

    Finishes even when cancelled, within `SAVE_TIMEOUT_S`.
    """
    if path is None or not any(saved.contacts for saved in state.values()):
        return
    data = encode_state(state)
    # Several processes may save to one path at once; the last to rename wins.
    beside = trio.Path(path.with_name(f".{path.name}.{secrets.token_hex(4)}.new"))
    with trio.move_on_after(SAVE_TIMEOUT_S, shield=True):
        try:
            await beside.parent.mkdir(parents=True, exist_ok=True)
            try:
                await beside.write_bytes(data)
                await beside.replace(path)
            finally:
                await beside.unlink(missing_ok=True)
        except OSError as error:
            _log.warning("the state cannot be saved", path=str(path), reason=str(error))


async def keep_saved(path: Path | None, current: Callable[[], State]) -> None:
    """Save what `current` returns every `SAVE_INTERVAL_S`, until cancelled."""
    while True:
        await trio.sleep(SAVE_INTERVAL_S)
        await save_state(path, current())
