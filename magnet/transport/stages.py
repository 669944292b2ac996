"""The deadline of a stage, and the ways in which a stream breaks, as errors of the peer."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import trio

from magnet.errors import PeerDisconnected, PeerTimeout

CONNECTING: Final = "connecting"
ENCRYPTING: Final = "encrypting"
HANDSHAKING: Final = "handshaking"


@contextmanager
def stage(name: str, timeout_s: float) -> Iterator[None]:
    """Bound the time of a block, and translate what trio and the operating system raise in it.

    Args:
        name: What is going on, for the error.
        timeout_s: Seconds the block may take.

    Raises:
        PeerTimeout: It took longer.
        PeerDisconnected: The stream broke, or could not be opened.
    """
    try:
        with trio.fail_after(timeout_s):
            yield
    except trio.TooSlowError as error:
        raise PeerTimeout(name, timeout_s) from error
    except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
        raise PeerDisconnected(name, str(error) or "connection lost") from error
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise PeerDisconnected(name, reason) from error
