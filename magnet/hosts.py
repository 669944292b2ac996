"""Where a link or a torrent says that someone is: a host, by name or literal address, and a port.

The text is a stranger's, so it is an instrument for making us send packets somewhere. Literal
addresses pass the same rule as every address learnt from the DHT (`dht.contact.is_allowed`). Names
can only be judged once they are resolved, and whoever connects must do that; what can be refused by
the look of a name is refused here: `localhost`, and the shorthand forms such as `127.1` or
`0x7f000001` that no parser of literals knows but every C library resolves.
"""

import re
from typing import Final, NamedTuple

from dht.contact import PORT_MAX, Endpoint, Scope, endpoint, format_endpoint, host_of, is_allowed

NAME_CHARACTERS_MAX: Final = 253
"""Length of a host name. Spec: RFC 1035 section 2.3.4, as text."""

_NAME: Final = re.compile(r"(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}")
_NUMERIC_LABEL: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_PORT_DIGITS_MAX: Final = 5


class HostPort(NamedTuple):
    """A host and a TCP or UDP port, not resolved.

    Attributes:
        host: A host name in lower case, or a literal address in its shortest form and without
            brackets.
        port: 1 to 65535.
    """

    host: str
    port: int

    @property
    def literal(self) -> Endpoint | None:
        """The compact endpoint when the host is a literal address; None for a name."""
        try:
            return endpoint(self.host, self.port)
        except ValueError:
            return None

    def __str__(self) -> str:
        """Return `name:port`, `192.0.2.1:6881` or `[2001:db8::1]:6881`."""
        literal = self.literal
        return f"{self.host}:{self.port}" if literal is None else format_endpoint(literal)


def host_port(host: str, port: int, bound: Scope) -> HostPort:
    """Check a host and a port that a stranger named.

    Args:
        host: A name in ASCII (an internationalised one in its `xn--` form) or a literal address
            without brackets.
        port: The port.
        bound: Scope of our own address, which decides on literal addresses as
            `dht.contact.is_allowed` does.

    Raises:
        ValueError: The port is out of range, the host has no valid form, or it lies where we must
            not be led.
    """
    if not 1 <= port <= PORT_MAX:
        raise ValueError(f"port {port} is not between 1 and {PORT_MAX}")
    host = host.lower()
    # A zone index would be dropped by `endpoint`, but a stranger has no business naming our
    # interfaces.
    literal = None if "%" in host else HostPort(host, port).literal
    if literal is None:
        return HostPort(_checked_name(host, bound), port)
    if not is_allowed(literal, bound):
        raise ValueError(f"address {host_of(literal)} is not allowed")
    return HostPort(host_of(literal), port)


def parse_host_port(text: str, bound: Scope) -> HostPort:
    """Read `name:port`, `192.0.2.1:6881` or `[2001:db8::1]:6881`.

    Raises:
        ValueError: The text has another form, such as an IPv6 address without brackets, or as for
            `host_port`.

    Spec: BEP 9 "magnet URI format", `x.pe`.
    """
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit() and len(port) <= _PORT_DIGITS_MAX):
        raise ValueError("no port")
    if host.startswith("[") != (":" in host) or host.startswith("[") != host.endswith("]"):
        raise ValueError("brackets are for IPv6 addresses, which need them")
    return host_port(host.removeprefix("[").removesuffix("]"), int(port), bound)


def _checked_name(name: str, bound: Scope) -> str:
    name = name.removesuffix(".")
    if len(name) > NAME_CHARACTERS_MAX or not _NAME.fullmatch(name):
        raise ValueError("no valid host")
    last_label = name.rpartition(".")[2]
    if _NUMERIC_LABEL.fullmatch(last_label):
        raise ValueError("host is neither a name nor a whole address")
    if last_label == "localhost" and bound is not Scope.LOOPBACK:
        raise ValueError("host is this machine")
    return name
