import pytest

from magnet.errors import (
    Attempt,
    DiskError,
    InvalidMagnetURI,
    InvalidMetainfo,
    LayersRejected,
    LinkFault,
    LocalProtocolError,
    MagnetError,
    MetadataRejected,
    MetainfoFault,
    PeerDisconnected,
    PeerTimeout,
    RemoteProtocolError,
    ResolveError,
    ResolveTimeout,
    SourceError,
    SourceFault,
)

ATTEMPT = Attempt("192.0.2.1:6881", PeerTimeout("connecting", 15.0), 15.0)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (InvalidMagnetURI(LinkFault.NO_HASH, "no hash"), "no hash"),
        (InvalidMagnetURI(LinkFault.AMBIGUOUS, "two", ["aa", "bb"]), "two: aa, bb"),
        (InvalidMetainfo(MetainfoFault.BAD_NAME, "no name"), "no name (bad-name)"),
        (LocalProtocolError("closed"), "closed"),
        (RemoteProtocolError("bad length"), "bad length"),
        (PeerTimeout("handshaking", 10.04), "timed out while handshaking (10.0 s)"),
        (PeerDisconnected("connecting", "refused"), "disconnected while connecting: refused"),
        (PeerDisconnected("extending"), "disconnected while extending: closed by peer"),
        (MetadataRejected(), "offers no metadata"),
        (MetadataRejected(3), "rejected metadata piece 3"),
        (LayersRejected(speaks_v2=False), "knows no piece layers"),
        (LayersRejected(speaks_v2=True), "rejected hash requests"),
        (ResolveError("no peers found"), "no peers found (0 peers tried)"),
        (ResolveTimeout(30.0, [ATTEMPT]), "not resolved within 30 s (1 peer tried)"),
        (SourceError(SourceFault.REFUSED, "not registered"), "not registered"),
        (DiskError("/a", "disk full"), "/a: disk full"),
    ],
)
def test_the_message_is_built_from_the_fields(error: MagnetError, message: str) -> None:
    assert isinstance(error, MagnetError)
    assert str(error) == message


def test_a_failed_resolve_keeps_its_attempts() -> None:
    assert ResolveTimeout(30.0, [ATTEMPT]).attempts == (ATTEMPT,)
