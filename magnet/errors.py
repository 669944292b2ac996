"""The errors of the `magnet` wing.

Four kinds of input can be wrong here, and each has its branch: a link (`InvalidMagnetURI`), a
.torrent file or info dictionary (`InvalidMetainfo`), a peer (`PeerError`), and a tracker or web
server (`SourceError`). A resolve that fails is a fifth thing, made of many of the third: it carries
every attempt with the error that ended it. Every error carries fields; its message is built from
them.

As in `dht.errors`, local means a bug on this side, and remote means theirs.
"""

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple


class MagnetError(Exception):
    """Base of every error this package raises on purpose."""


class LinkFault(Enum):
    """What makes a magnet link unusable. The values are stable: they appear in JSON output."""

    TOO_LONG = "too-long"
    NOT_A_MAGNET = "not-a-magnet"
    CONTROL_CHARACTER = "control-character"
    NO_HASH = "no-hash"
    NOT_BITTORRENT = "not-bittorrent"
    BAD_HASH = "bad-hash"
    AMBIGUOUS = "ambiguous"
    BAD_SALT = "bad-salt"


class InvalidMagnetURI(MagnetError):
    """A text that is no usable magnet link.

    Attributes:
        fault: Which rule it breaks.
        detail: What exactly, in a few words and free of control characters.
        candidates: For `LinkFault.AMBIGUOUS` the hashes found, in hexadecimal, so that the user can
            choose; otherwise empty.
    """

    def __init__(self, fault: LinkFault, detail: str, candidates: Sequence[str] = ()) -> None:
        """Build the message from `detail` and `candidates`."""
        choice = f": {', '.join(candidates)}" if candidates else ""
        super().__init__(f"{detail}{choice}")
        self.fault = fault
        self.detail = detail
        self.candidates = tuple(candidates)


class MetainfoFault(Enum):
    """What makes a .torrent file or info dictionary unusable. The values are stable, as above."""

    TOO_LARGE = "too-large"
    BAD_BENCODING = "bad-bencoding"
    UNSORTED = "unsorted"
    BAD_NAME = "bad-name"
    BAD_PIECE_LENGTH = "bad-piece-length"
    BAD_PIECES = "bad-pieces"
    BAD_FILE = "bad-file"
    TOO_DEEP = "too-deep"
    UNSUPPORTED_VERSION = "unsupported-version"
    INCONSISTENT_HYBRID = "inconsistent-hybrid"
    BAD_PIECE_LAYER = "bad-piece-layer"
    UNSAFE_PATH = "unsafe-path"


class InvalidMetainfo(MagnetError):
    """A .torrent file or info dictionary that breaks a rule or passes a bound.

    Attributes:
        fault: Which rule, as a stable code.
        detail: What exactly, in a few words.
    """

    def __init__(self, fault: MetainfoFault, detail: str) -> None:
        """Build the message from `fault` and `detail`."""
        super().__init__(f"{detail} ({fault.value})")
        self.fault = fault
        self.detail = detail


class PeerError(MagnetError):
    """A connection to one peer came to nothing; the next peer may do better."""


class PeerProtocolError(PeerError):
    """The peer protocol was broken, by us or by them."""


class LocalProtocolError(PeerProtocolError):
    """We called something that the state or the arguments forbid: a bug on this side."""


class RemoteProtocolError(PeerProtocolError):
    """A peer sent something that the protocol does not allow.

    Attributes:
        fault: What is wrong, in a few words; also the key under which such peers are counted.
    """

    def __init__(self, fault: str) -> None:
        """Build the message from `fault`."""
        super().__init__(fault)
        self.fault = fault


class PeerTimeout(PeerError):
    """A peer let a deadline pass.

    Attributes:
        stage: What was waited for: "connecting", "encrypting", "handshaking", "extending",
            "requesting".
        elapsed_s: Seconds waited.
    """

    def __init__(self, stage: str, elapsed_s: float) -> None:
        """Build the message from `stage` and `elapsed_s`."""
        super().__init__(f"timed out while {stage} ({elapsed_s:.1f} s)")
        self.stage = stage
        self.elapsed_s = elapsed_s


class PeerDisconnected(PeerError):
    """The stream to a peer could not be opened, or ended early.

    Attributes:
        stage: What was going on: "connecting", "encrypting", "handshaking", "extending",
            "requesting".
        reason: The system's words, or "closed by peer".
    """

    def __init__(self, stage: str, reason: str = "closed by peer") -> None:
        """Build the message from `stage` and `reason`."""
        super().__init__(f"disconnected while {stage}: {reason}")
        self.stage = stage
        self.reason = reason


class ProxyError(PeerError):
    """The proxy, and not the peer, is why a connection came to nothing.

    Attributes:
        reason: What the proxy does, in a few words.
    """

    def __init__(self, reason: str) -> None:
        """Build the message from `reason`."""
        super().__init__(f"the proxy {reason}")
        self.reason = reason


class MetadataRejected(PeerError):
    """A peer has no metadata for us: it offers none, or it refused a piece.

    Attributes:
        piece: Index of the refused piece; None when the peer offers no metadata at all.

    Spec: BEP 9 "reject".
    """

    def __init__(self, piece: int | None = None) -> None:
        """Build the message from `piece`."""
        super().__init__(
            "offers no metadata" if piece is None else f"rejected metadata piece {piece}"
        )
        self.piece = piece


class LayersRejected(PeerError):
    """A peer has no piece layers for us.

    Attributes:
        speaks_v2: Whether it was asked at all: False when it knows the torrent as v1 only.

    Spec: BEP 52 "hash reject".
    """

    def __init__(self, speaks_v2: bool) -> None:
        """Build the message from `speaks_v2`."""
        super().__init__("rejected hash requests" if speaks_v2 else "knows no piece layers")
        self.speaks_v2 = speaks_v2


class SourceFault(Enum):
    """What goes wrong with a tracker or a web server. The values are stable, as above.

    `REFUSED` is what the server itself says; `STATUS` the same in numbers, as HTTP has them.
    """

    NOT_ALLOWED = "not-allowed"
    NO_ADDRESS = "no-address"
    UNREACHABLE = "unreachable"
    INSECURE = "insecure"
    TIMEOUT = "timeout"
    STATUS = "http-status"
    REDIRECTS = "redirects"
    TOO_LARGE = "too-large"
    MALFORMED = "malformed"
    REFUSED = "refused"
    WRONG_HASH = "wrong-hash"


class SourceError(MagnetError):
    """A tracker or a web server gave nothing; other sources may.

    Attributes:
        fault: What went wrong.
        detail: What exactly, in a few words and fit to be shown.
        retry_in_s: Seconds for which it wants to be left alone; infinite for ever, None if it did
            not say.
    """

    def __init__(self, fault: SourceFault, detail: str, retry_in_s: float | None = None) -> None:
        """Build the message from `detail`."""
        super().__init__(detail)
        self.fault = fault
        self.detail = detail
        self.retry_in_s = retry_in_s


class Attempt(NamedTuple):
    """One try at getting metadata from one source.

    Attributes:
        source: Whom we asked, as text: `192.0.2.1:6881`.
        error: What ended it.
        elapsed_s: Seconds it took.
    """

    source: str
    error: MagnetError
    elapsed_s: float


class ResolveError(MagnetError):
    """A link could not be turned into metadata.

    Attributes:
        reason: Why, in one line.
        attempts: Every try with what ended it, in order; empty when no peer was found.
    """

    def __init__(self, reason: str, attempts: Sequence[Attempt] = ()) -> None:
        """Build the message from `reason` and the number of `attempts`."""
        tried = "1 peer" if len(attempts) == 1 else f"{len(attempts)} peers"
        super().__init__(f"{reason} ({tried} tried)")
        self.reason = reason
        self.attempts = tuple(attempts)


class ResolveTimeout(ResolveError):
    """The total deadline of a resolve passed.

    Attributes:
        elapsed_s: Seconds it had.
    """

    def __init__(self, elapsed_s: float, attempts: Sequence[Attempt] = ()) -> None:
        """Build the message from `elapsed_s` and the number of `attempts`."""
        super().__init__(f"not resolved within {elapsed_s:.0f} s", attempts)
        self.elapsed_s = elapsed_s


class DiskError(MagnetError):
    """A file cannot be read or written.

    Attributes:
        path: Which one.
        reason: The system's words.
    """

    def __init__(self, path: str, reason: str) -> None:
        """Build the message from `path` and `reason`."""
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class NameTaken(DiskError):
    """None of the names that a torrent could have is free; torrents of other names are not held up.

    The attributes are those of `DiskError`.
    """
