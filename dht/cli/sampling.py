"""The command that asks a node which info-hashes it stores: `sample`."""

from dataclasses import replace
from random import SystemRandom

import trio

from dht.bootstrap import resolve_hosts
from dht.cli.app import COMMON, TIMEOUT_S, app
from dht.cli.arguments import HostArgument
from dht.commandline import CommandFailed, CommonOptions, ExitCode, Terminal
from dht.contact import Endpoint, format_endpoint
from dht.errors import DhtError
from dht.inquiry import Call
from dht.keyspace import random_id
from dht.node import open_node
from dht.sampler import Sampler
from dht.sampling import Samples


@app.command
async def sample(host: HostArgument, /, *, options: CommonOptions = COMMON) -> ExitCode:
    """Ask a node for a sample of the info-hashes it stores, and print them.

    Args:
        host: The node, as HOST:PORT or [IPV6]:PORT; of a name, every address is asked.
    """
    terminal = Terminal(as_json=options.json)
    # The node that is asked tells where to bind, and nobody else has to be asked.
    asking = replace(options, bootstrap=(host,)).node_settings(read_only=True)
    async with open_node(replace(asking, bootstrap=(), state=None)) as node:
        (resolved,) = await resolve_hosts([host], list(node.endpoints))
        if not resolved.endpoints:
            raise CommandFailed(f"{host} has no address that can be asked from here")
        sampler, answers = Sampler(node), 0
        for endpoint in resolved.endpoints:
            answers += await _sample_one(sampler, endpoint, terminal, options.timeout or TIMEOUT_S)
    return ExitCode.DONE if answers else ExitCode.FAILED


async def _sample_one(
    sampler: Sampler, endpoint: Endpoint, terminal: Terminal, timeout_s: float
) -> bool:
    at = format_endpoint(endpoint)
    reason = f"no answer within {timeout_s:g} s"
    with trio.move_on_after(timeout_s):
        try:
            call, samples = await sampler.sample(endpoint, random_id(SystemRandom()))
        except DhtError as error:
            reason = str(error)
        else:
            if samples is not None:
                _show(at, call, samples, terminal)
                return True
            reason = str(call.error) if call.error is not None else "it does not know the method"
    terminal.record({"endpoint": at, "error": reason})
    terminal.note(f"{at}: {reason}")
    return False


def _show(at: str, call: Call, samples: Samples, terminal: Terminal) -> None:
    hashes = [info_hash.hex() for info_hash in samples.info_hashes]
    terminal.record(
        {
            "endpoint": at,
            "id": call.sender.id.hex() if call.sender is not None else None,
            "info_hashes": hashes,
            "num": samples.total,
            "interval_s": samples.interval_s,
        }
    )
    for info_hash in hashes:
        terminal.line(info_hash)
    terminal.note(
        f"{at} shows {len(hashes)} of {samples.total} info-hashes, "
        f"and others after {samples.interval_s} s"
    )
