"""A packet that is kept until the peer has it."""

from magnet.transport.utp.packet import PacketType


class Segment:
    """What was sent, and what became of it. Each sending of any packet has a number.

    Attributes:
        type: DATA, FIN or SYN.
        seq: Its number as a packet.
        payload: What it carries.
        padding: Bytes by which it is made longer, to probe the path; 0 for none.
        began_at: When it was first sent.
        sent_at: When it was sent last.
        sendings: How often it was sent.
        first: The number of its first sending.
        latest: The number of its last sending.
        is_lost: Whether that is taken to be lost.
        was_lost: Whether any sending was.
        is_acknowledged: Whether the peer has it.
    """

    __slots__ = (
        "began_at",
        "first",
        "is_acknowledged",
        "is_lost",
        "latest",
        "padding",
        "payload",
        "sendings",
        "sent_at",
        "seq",
        "type",
        "was_lost",
    )

    def __init__(self, type: PacketType, seq: int, payload: bytes = b"") -> None:
        """Create one that was not yet sent."""
        self.type = type
        self.seq = seq
        self.payload = payload
        self.padding = 0
        self.began_at = self.sent_at = 0.0
        self.sendings = self.first = self.latest = 0
        self.is_lost = self.was_lost = self.is_acknowledged = False

    def send(self, number: int, *, now: float) -> None:
        """Note that it is sent, as the sending of that number."""
        if not self.sendings:
            self.first, self.began_at = number, now
        self.sendings += 1
        self.latest, self.sent_at = number, now
        self.is_lost = False

    def lose(self) -> None:
        """Note that its last sending is taken to be lost."""
        self.is_lost = self.was_lost = True
