"""The common options: what they refuse, where they come from, and what they ask of a node."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from cyclopts import App, CycloptsError

from dht.bootstrap import PUBLIC_HOSTS, BootstrapHost
from dht.commandline.options import (
    CONFIG_SOURCES,
    BindAddress,
    CommonOptions,
    OutputOptions,
    parse_bind,
)
from dht.node import NodeSettings
from dht.ratelimit import Budget

COMMON, OUTPUT = CommonOptions(), OutputOptions()
LOCAL_HOST = BootstrapHost("127.0.0.1", 4000, is_router=False)


def parse(*tokens: str) -> CommonOptions:
    """Return the options that a command line, the environment and a file give."""
    app = App(config=CONFIG_SOURCES)

    @app.default
    def command(*, options: CommonOptions = COMMON) -> None:
        """Take common options."""

    _, bound, _ = app.parse_args(list(tokens), exit_on_error=False, print_error=False)
    options: CommonOptions = bound.arguments.get("options", COMMON)
    return options


def parse_output_only(*tokens: str) -> OutputOptions:
    app = App(config=CONFIG_SOURCES)

    @app.default
    def command(*, options: OutputOptions = OUTPUT) -> None:
        """Take the options of commands without a node."""

    _, bound, _ = app.parse_args(list(tokens), exit_on_error=False, print_error=False)
    options: OutputOptions = bound.arguments.get("options", OUTPUT)
    return options


def settings(*tokens: str) -> NodeSettings:
    return parse(*tokens).node_settings()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "trackerless.toml"


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        ":6881",
        "localhost",
        "localhost:6881",
        "127.0.0.1:",
        "127.0.0.1:port",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "127.0.0.1:\u0661",
        "127.0.0.300",
        "[127.0.0.1",
        "[::1]:x",
        "[::1",
        "::g",
    ],
)
def test_what_cannot_be_bound_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not ADDR or ADDR:PORT"):
        parse_bind(text)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1", "127.0.0.1", 0),
        ("127.0.0.1:6881", "127.0.0.1", 6881),
        ("0.0.0.0:0", "0.0.0.0", 0),
        ("::1", "::1", 0),
        ("2001:db8::1:6881", "2001:db8::1:6881", 0),
        ("[::1]", "::1", 0),
        ("[::]:6881", "::", 6881),
    ],
)
def test_addresses_to_bind(text: str, host: str, port: int) -> None:
    assert parse_bind(text) == BindAddress(host, port)


@pytest.mark.parametrize(
    ("tokens", "fault"),
    [
        (["--bind", "nowhere"], "Invalid value for --bind: 'nowhere' is not ADDR or ADDR:PORT"),
        (["--bind", "127.0.0.1", "--bind", "127.0.0.2"], "at most one address a family"),
        (["--bootstrap", "host"], "Invalid value for --bootstrap: 'host' is not HOST:PORT"),
        (["--bootstrap", "[::1]"], "is not HOST:PORT"),
        (["--budget", "endless"], 'Choose from: "gentle", "home", "server"'),
        (["--timeout", "0"], "Must be above 0"),
        (["--timeout", "-1"], "Must be above 0"),
        (["--timeout", "nan"], "Must be above 0"),
        (["--timeout", "soon"], 'unable to convert "soon" into float'),
        (["--state", "/"], "Is a folder"),
        (["--state", "."], "Is a folder"),
        (["--log-level", "loud"], "--log-level"),
        (["--bogus"], "Unknown option: --bogus"),
        (["--no-json"], "Unknown option: --no-json"),
        (["--config", "missing.toml"], "Cannot read missing.toml: No such file or directory"),
    ],
)
def test_wrong_options_are_named(tokens: Sequence[str], fault: str) -> None:
    with pytest.raises(CycloptsError) as caught:
        parse(*tokens)
    assert fault in str(caught.value)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (b"= 1", "is not TOML"),
        (b"\xff", "is not TOML"),
        (b"speed = 1", 'Unknown option: "[speed]"'),
        (b"timeout = 'soon'", "unable to convert"),
        (b"timeout = -1", "Must be above 0"),
        (b"bootstrap = ['nowhere']", "is not HOST:PORT"),
        (b"bootstrap = 3", "is not HOST:PORT"),
        (b"[bind]\nport = 1", 'Unknown option: "[bind][port]"'),
    ],
)
def test_a_wrong_file_is_named(config: Path, text: bytes, fault: str) -> None:
    config.write_bytes(text)
    with pytest.raises(CycloptsError) as caught:
        parse("--config", str(config))
    assert fault in str(caught.value)


def test_a_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKERLESS_TIMEOUT", "soon")
    with pytest.raises(CycloptsError, match="TRACKERLESS_TIMEOUT"):
        parse()


def test_the_command_line_comes_before_the_environment_and_that_before_the_file(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text("timeout = 1\nbudget = 'server'\nlog-level = 'debug'\njson = true\n")
    monkeypatch.setenv("TRACKERLESS_CONFIG", str(config))
    monkeypatch.setenv("TRACKERLESS_TIMEOUT", "2")
    monkeypatch.setenv("TRACKERLESS_BUDGET", "gentle")
    options = parse("--timeout", "3")
    assert options.timeout == 3
    assert options.budget is Budget.GENTLE
    assert options.log_level == "debug"
    assert options.json


def test_lists_come_from_everywhere(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = (LOCAL_HOST, BootstrapHost("::1", 4001, is_router=False))
    config.write_text('bootstrap = ["127.0.0.1:4000", "[::1]:4001"]\n')
    assert parse("--config", str(config)).bootstrap == hosts
    monkeypatch.setenv("TRACKERLESS_BOOTSTRAP", "127.0.0.1:4000 [::1]:4001")
    assert parse().bootstrap == hosts
    assert parse("--bootstrap", "127.0.0.1:4000", "--bootstrap", "[::1]:4001").bootstrap == hosts


def test_one_file_serves_commands_without_a_node(config: Path) -> None:
    config.write_text("bind = ['127.0.0.1']\nbudget = 'gentle'\njson = true\n")
    assert parse_output_only("--config", str(config)).json
    config.write_text("speed = 1")
    with pytest.raises(CycloptsError, match="speed"):
        parse_output_only("--config", str(config))


def test_defaults_are_for_the_public_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert settings() == NodeSettings(
        bind=(),
        bootstrap=PUBLIC_HOSTS,
        state=Path("/cache/trackerless/dht.state"),
        budget=Budget.HOME,
        map_ports=True,
    )


@pytest.mark.parametrize(
    "tokens",
    [
        ["--bind", "127.0.0.1"],
        ["--bind", "127.0.0.1:6881", "--bind", "[::1]:6881"],
        ["--bootstrap", "127.0.0.1:4000"],
    ],
)
def test_what_is_local_stays_out_of_the_users_state(tokens: Sequence[str]) -> None:
    assert settings(*tokens).state is None
    assert settings(*tokens, "--state", "here").state == Path("here")
    assert settings(*tokens).bootstrap in ((), (LOCAL_HOST,))


def test_a_public_node_may_have_no_state_either() -> None:
    assert settings("--state", "none").state is None


def test_one_public_address_makes_a_public_node() -> None:
    chosen = settings("--bind", "127.0.0.1", "--bind", "::")
    assert chosen.state is not None
    assert chosen.bootstrap == PUBLIC_HOSTS


@pytest.mark.parametrize(
    ("hosts", "bind"),
    [
        (["127.0.0.1:4000"], [("127.0.0.1", 0)]),
        (["[::1]:4000"], [("::1", 0)]),
        (["127.0.0.1:4000", "[::1]:4000", "127.0.0.2:1"], [("127.0.0.1", 0), ("::1", 0)]),
        (["127.0.0.1:4000", "45.0.0.1:4000"], []),
        (["localhost:4000"], []),
    ],
)
def test_local_hosts_are_reached_from_loopback(
    hosts: Sequence[str], bind: list[tuple[str, int]]
) -> None:
    tokens = [token for host in hosts for token in ("--bootstrap", host)]
    assert list(settings(*tokens).bind) == bind


def test_a_chosen_address_is_kept() -> None:
    assert settings("--bind", "0.0.0.0", "--bootstrap", "127.0.0.1:1").bind == (("0.0.0.0", 0),)


def test_a_short_lived_node_is_read_only() -> None:
    assert parse().node_settings(read_only=True).read_only
    assert not parse().node_settings().read_only


def test_only_who_answers_has_ports_mapped_unless_told_otherwise() -> None:
    for read_only in (False, True):
        assert parse().node_settings(read_only=read_only).map_ports is not read_only
        assert parse("--map-ports").node_settings(read_only=read_only).map_ports
        assert not parse("--no-map-ports").node_settings(read_only=read_only).map_ports


def test_strict_ids_reach_the_node() -> None:
    assert parse("--strict-ids").node_settings().strict_ids
    assert not parse().node_settings().strict_ids
