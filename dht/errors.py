"""The errors of the `dht` wing.

Whose fault an error is decides its branch. `LocalProtocolError` is a call of ours that the present
state forbids, `RemoteProtocolError` is bytes from a stranger that break a rule, and `QueryError` is
a query that got no useful answer. Everything a decoder can raise on a stranger's bytes is a
`RemoteProtocolError`; nothing else may escape one.
"""


class DhtError(Exception):
    """Base of every error this package raises on purpose."""


class LocalProtocolError(DhtError):
    """We called something in a way its state or its arguments forbid: a bug on this side."""


class RemoteProtocolError(DhtError):
    """A remote node sent something that the protocol does not allow."""


class MalformedBencode(RemoteProtocolError):
    """Bytes that are not bencoding, or pass a bound on size, depth or number of tokens.

    Attributes:
        fault: What is wrong, in a few words.
        offset: Where in the input, in bytes.
    """

    def __init__(self, fault: str, offset: int = 0) -> None:
        """Build the message from `fault` and `offset`."""
        super().__init__(f"{fault} at byte {offset}")
        self.fault = fault
        self.offset = offset


class MalformedMessage(RemoteProtocolError):
    """Well-formed bencoding that is not a KRPC message, or a field of the wrong shape.

    Attributes:
        fault: What is wrong, in a few words; also the key under which a dropped datagram is
            counted.
    """

    def __init__(self, fault: str) -> None:
        """Build the message from `fault`."""
        super().__init__(fault)
        self.fault = fault


class MalformedReply(RemoteProtocolError):
    """A datagram that is not a router's reply to a request for a port mapping.

    Attributes:
        fault: What is wrong, in a few words.
    """

    def __init__(self, fault: str) -> None:
        """Build the message from `fault`."""
        super().__init__(fault)
        self.fault = fault


class MappingFailed(DhtError):
    """No router maps a port for us: there is none, it says no, or it says nothing."""


class QueryError(DhtError):
    """A query of ours got no useful answer."""


class QueryTimeout(QueryError):
    """No answer came before the hard deadline.

    Attributes:
        elapsed_s: Seconds waited.
    """

    def __init__(self, elapsed_s: float) -> None:
        """Build the message from `elapsed_s`."""
        super().__init__(f"no answer within {elapsed_s:.1f} s")
        self.elapsed_s = elapsed_s


class ErrorResponse(QueryError):
    """The remote node answered with a KRPC error.

    Attributes:
        code: The error code, 201-204 in BEP 5, 205-302 in BEP 44, or whatever the node chose.
        text: Its text, escaped where it is not printable.

    Spec: BEP 5 "Errors".
    """

    def __init__(self, code: int, text: str) -> None:
        """Build the message from `code` and `text`."""
        super().__init__(f"error {code}: {text}")
        self.code = code
        self.text = text


class QueryRefused(QueryError):
    """Our own rules forbid the query: a forbidden address, or a limit that is used up.

    Attributes:
        reason: Which rule, in a few words.
    """

    def __init__(self, reason: str) -> None:
        """Build the message from `reason`."""
        super().__init__(f"not sent: {reason}")
        self.reason = reason


class InvalidItem(DhtError):
    """An item of ours that no node would store: too big, or not canonical."""


class ItemConflict(DhtError):
    """Somebody else has put another item under the same key and salt.

    Attributes:
        seq: The highest sequence number found.

    Spec: BEP 44 "CAS".
    """

    def __init__(self, seq: int) -> None:
        """Build the message from `seq`."""
        super().__init__(f"the item has changed: its sequence number is {seq}")
        self.seq = seq


class NotBootstrapped(DhtError):
    """The node knows nobody: no saved state was usable and no bootstrap host answered."""


class NodeClosed(DhtError):
    """The node was closed while, or before, the call ran."""


class StateError(DhtError):
    """A saved state cannot be used: corrupt, cut short, or of a version we do not know.

    Attributes:
        fault: What is wrong, in a few words.
    """

    def __init__(self, fault: str) -> None:
        """Build the message from `fault`."""
        super().__init__(f"unusable state: {fault}")
        self.fault = fault


class CannotListen(DhtError):
    """A socket cannot be bound: the port is taken, or the address is not ours.

    Attributes:
        address: The address asked for, as text.
        reason: The system's words.
    """

    def __init__(self, address: str, reason: str) -> None:
        """Build the message from `address` and `reason`."""
        super().__init__(f"cannot listen on {address}: {reason}")
        self.address = address
        self.reason = reason
