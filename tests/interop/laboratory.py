"""Runs commands at home, behind a router, in network namespaces that are made for it.

Nothing leaves them. `laboratory.sh` builds them; what it takes is named by `missing_tool`.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]

PATIENCE_S: Final = 60.0
"""Seconds until a laboratory is closed, whatever goes on in it."""

_NAMESPACES: Final = (
    *("unshare", "--map-root-user", "--net", "--mount", "--pid", "--fork", "--kill-child"),
    "--mount-proc",
)

MASQUERADE: Final = "masquerade"
"""Keeps a port if it can: everybody sees one endpoint."""

RANDOM: Final = "masquerade fully-random"
"""Another port for each flow."""

_RULES: Final = """
table inet filter {{
  chain forward {{
    type filter hook forward priority 0; policy drop;
    jump miniupnpd; iifname "lan1" accept; ct state established,related accept;
  }}
  chain prerouting {{ type nat hook prerouting priority -100; jump prerouting_miniupnpd; }}
  chain postrouting {{
    type nat hook postrouting priority 100; jump postrouting_miniupnpd; oifname "wan0" {nat};
  }}
  chain miniupnpd {{ }}
  chain prerouting_miniupnpd {{ }}
  chain postrouting_miniupnpd {{ }}
}}
"""

NO_SERVICE: Final = "exec sleep infinity"


def missing_tool(*tools: str) -> str | None:
    """Return what is missing for a laboratory here; None if nothing is."""
    for tool in ("unshare", "nsenter", "ip", "nft", *tools):
        if shutil.which(tool, path=_path()) is None:
            return tool
    tried = subprocess.run([*_NAMESPACES, "true"], capture_output=True, check=False)
    return "the right to make namespaces" if tried.returncode else None


def run_at_home(
    command: str,
    *,
    nat: str = MASQUERADE,
    service: str = NO_SERVICE,
    world: tuple[int, int] = (20, 0),
) -> subprocess.CompletedProcess[str]:
    """Run a shell command at home.

    Args:
        command: With `python` and `dht` of this environment.
        nat: What the router does to datagrams on their way out.
        service: A shell command that the router runs meanwhile.
        world: Nodes that are there, and nodes that come later; none for an empty world.
    """
    script = str(Path(__file__).with_name("laboratory.sh"))
    early, late = world
    nodes = f"exec python -m tests.interop.world {early} {late}" if early else "echo; sleep 999"
    return subprocess.run(
        [*_NAMESPACES, "sh", script, _RULES.format(nat=nat), service, nodes, command],
        cwd=ROOT,
        env={**os.environ, "PATH": _path(), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def _path() -> str:
    return os.pathsep.join(
        (str(Path(sys.executable).parent), os.environ.get("PATH", ""), "/usr/sbin", "/sbin")
    )
