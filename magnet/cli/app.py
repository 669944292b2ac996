"""The `magnet` application: where its commands are registered, and how their errors end them."""

from typing import Final

from dht.commandline import CommonOptions, ExitCode, OutputOptions, make_app
from magnet.errors import DiskError, InvalidMagnetURI, InvalidMetainfo, MagnetError, ProxyError

app = make_app("magnet", "Turn magnet links into torrents, with no tracker needed.")

COMMON: Final = CommonOptions()
OUTPUT: Final = OutputOptions()
"""The options as they are when none is given."""

EXIT_CODES: Final = {
    InvalidMagnetURI: ExitCode.WRONG_USE,
    InvalidMetainfo: ExitCode.WRONG_USE,
    DiskError: ExitCode.CANNOT_RUN,
    ProxyError: ExitCode.CANNOT_RUN,
    MagnetError: ExitCode.FAILED,
}
"""How the errors of this wing end a command."""
