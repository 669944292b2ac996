"""The options that every command takes, and where their values come from.

The command line comes first, then environment variables `TRACKERLESS_<OPTION>`, then a TOML file
named by `--config`, whose keys are the names of the options. A mistake in any of them is told with
its source, and nothing is run.
"""

import dataclasses
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple, TypeAlias

from cyclopts import App, ArgumentCollection, CycloptsError, Group, Parameter, Token
from cyclopts.config import Dict, Env
from platformdirs import user_cache_path

from dht.bootstrap import PUBLIC_HOSTS, BootstrapHost, parse_host
from dht.contact import Endpoint, Family, Scope, endpoint, family_of, scope_of
from dht.node import NodeSettings
from dht.ratelimit import Budget

STATE_FILE: Final = "dht.state"
"""Name of the state file in the platform's cache folder."""

CONFIG_BYTES_MAX: Final = 1_048_576
"""Bytes read of a configuration file; a hundred options fit in a hundredth of that."""

LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]
"""From which severity on events are shown."""


class BindAddress(NamedTuple):
    """A literal address and a port to listen on; port 0 for any free one."""

    host: str
    port: int


def parse_bind(text: str) -> BindAddress:
    """Read `ADDR[:PORT]`: an IPv6 address in brackets if a port follows, else with or without.

    Raises:
        ValueError: There is no literal address, or the port is above 65535.
    """
    host, _, port = text.rpartition(":")
    if text.startswith("[") and text.endswith("]"):
        host, port = text[1:-1], "0"
    elif host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host or not host:
        host, port = text, "0"
    if not (port.isascii() and port.isdigit()):
        raise ValueError(f"{text!r} is not ADDR or ADDR:PORT")
    try:
        endpoint(host, int(port))
    except ValueError as error:
        raise ValueError(f"{text!r} is not ADDR or ADDR:PORT: {error}") from error
    return BindAddress(host, int(port))


def _read_binds(_type: type, tokens: Sequence[Token]) -> tuple[BindAddress, ...]:
    binds = tuple(parse_bind(token.value) for token in tokens)
    families = [family_of(endpoint(*it)) for it in binds]
    if len(families) > len(set(families)):
        raise ValueError("--bind: at most one address a family")
    return binds


def _read_hosts(_type: type, tokens: Sequence[Token]) -> tuple[BootstrapHost, ...]:
    return tuple(parse_host(token.value) for token in tokens)


def _check_positive(_type: type, seconds: float | None) -> None:
    if seconds is not None and not seconds > 0:
        raise ValueError("Must be above 0.")


def _check_not_folder(_type: type, path: str | Path | None) -> None:
    if isinstance(path, Path) and path.is_dir():
        raise ValueError("Is a folder.")


_GROUP: Final = Group(
    "Common options",
    help="Also read from environment variables TRACKERLESS_OPTION and from the --config file.",
    sort_key=1_000,
)
_FLAT: Final = Parameter(name="*", group=_GROUP, negative="", show_default=False)


@_FLAT
@dataclass(frozen=True, slots=True, kw_only=True)
class OutputOptions:
    """The options of a command that opens no socket of its own.

    Attributes:
        json: Print one JSON object a line on stdout, and everything else on stderr.
        timeout: Give up after so many seconds; a service ends then.
        log_level: Show events from this severity on.
        config: TOML file with settings, named as the options are.
    """

    json: bool = False
    timeout: Annotated[float | None, Parameter(metavar="SECONDS", validator=_check_positive)] = None
    log_level: Annotated[LogLevel, Parameter(show_default=True)] = "warning"
    config: Annotated[Path | None, Parameter(metavar="FILE")] = None


@_FLAT
@dataclass(frozen=True, slots=True, kw_only=True)
class CommonOptions(OutputOptions):
    """The options of a command that runs a node.

    Attributes:
        bind: Listen on this address, an IPv6 one as [ADDR]:PORT; once a family. Default: both
            families, any port; loopback if all bootstrap hosts are there.
        bootstrap: Begin with this host; may be repeated. Default: the well-known ones.
        state: Remember nodes between runs in this file. Default: a file in the cache folder; none
            on loopback.
        budget: New remote endpoints a second, which routers have to remember.
        strict_ids: Trust only nodes whose id is tied to their address.
        map_ports: Have the router let strangers in (PCP, NAT-PMP, UPnP). Default: only commands
            that answer others, and never on loopback.
    """

    bind: Annotated[
        tuple[BindAddress, ...],
        Parameter(
            metavar="ADDR[:PORT]",
            converter=_read_binds,
            n_tokens=1,
            accepts_keys=False,
            json_list=False,
        ),
    ] = ()
    bootstrap: Annotated[
        tuple[BootstrapHost, ...],
        Parameter(
            metavar="HOST:PORT",
            converter=_read_hosts,
            n_tokens=1,
            accepts_keys=False,
            json_list=False,
        ),
    ] = ()
    state: Annotated[
        Literal["none"] | Path | None,
        Parameter(metavar="PATH|none", show_choices=False, validator=_check_not_folder),
    ] = None
    budget: Annotated[Budget, Parameter(show_default=True)] = Budget.HOME
    strict_ids: bool = False
    map_ports: Annotated[bool | None, Parameter(negative="--no-map-ports")] = None

    def node_settings(self, *, read_only: bool = False) -> NodeSettings:
        """Return the settings of the node that these options ask for.

        What concerns loopback only, as test networks do, stays there: it neither asks the public
        hosts nor enters the user's state unless told to.

        Args:
            read_only: Whether the node is to answer no queries, as befits a short-lived one.
        """
        bind = self.bind or _loopback_of(self.bootstrap)
        is_local = bool(bind) and all(_is_loopback(endpoint(*it)) for it in bind)
        default_hosts = () if is_local else PUBLIC_HOSTS
        default_state = None if is_local else user_cache_path("trackerless") / STATE_FILE
        chosen_state = None if self.state == "none" else self.state
        return NodeSettings(
            bind=bind,
            bootstrap=self.bootstrap or default_hosts,
            state=default_state if self.state is None else chosen_state,
            budget=self.budget,
            read_only=read_only,
            strict_ids=self.strict_ids,
            map_ports=not read_only if self.map_ports is None else self.map_ports,
        )


def _loopback_of(hosts: Sequence[BootstrapHost]) -> tuple[BindAddress, ...]:
    """Return where to bind in order to reach hosts that are all literal loopback addresses."""
    try:
        ends = [endpoint(it.host, it.port) for it in hosts]
    except ValueError:
        return ()
    if not all(_is_loopback(it) for it in ends):
        return ()
    addresses = {Family.IPV4: "127.0.0.1", Family.IPV6: "::1"}
    return tuple(BindAddress(addresses[it], 0) for it in dict.fromkeys(map(family_of, ends)))


def _is_loopback(at: Endpoint) -> bool:
    return scope_of(at) is Scope.LOOPBACK


def read_config_file(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Take from the file that `--config` names what was not given otherwise.

    One file serves all commands, so common options that a command does not take are passed over;
    any other unknown key is a mistake.

    Raises:
        CycloptsError: The file cannot be read, is not TOML, or has an unknown key.
    """
    chosen = arguments.get("--config", None)
    if chosen is None or not chosen.tokens:
        return
    path = Path(chosen.tokens[-1].value)
    taken = {argument.field_info.name for argument in arguments}
    common = {field.name for field in dataclasses.fields(CommonOptions)}
    settings = {
        key: value
        for key, value in _load_toml(path).items()
        if key.replace("-", "_") not in common - taken
    }
    Dict(settings, source=str(path), use_commands_as_keys=False)(app, commands, arguments)


def _load_toml(path: Path) -> dict[str, object]:
    try:
        with path.open("rb") as file:
            return tomllib.loads(file.read(CONFIG_BYTES_MAX).decode())
    except OSError as error:
        raise CycloptsError(msg=f"Cannot read {path}: {error.strerror}.") from error
    except ValueError as error:
        raise CycloptsError(msg=f"{path} is not TOML: {error}.") from error


CONFIG_SOURCES: Final = (Env("TRACKERLESS_", command=False, show=False), read_config_file)
"""Where settings come from besides the command line, in order of precedence."""
